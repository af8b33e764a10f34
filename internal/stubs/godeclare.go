package stubs

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// fieldType is the type of a field of a class.
func (f *goFile) fieldType(class string, part field, context string) goType {
	made := f.of(part.Type, context+" "+part.Name)
	if class != "" && f.holdsByValue(part.Type, class, map[string]bool{}) {
		return optional(made)
	}
	return made
}

func newFieldNamer() namer {
	return newNamer([]string{"UnmarshalJSON", "MarshalJSON", "UnmarshalText"})
}

// declareStruct declares a class that is a dict in messages.
func (f *goFile) declareStruct(name, class string, of *declared) {
	var text strings.Builder
	fmt.Fprintf(&text, "// %s is %s, a %s: a dict in messages", name, oneLine(class), of.Of)
	if of.Of != "TypedDict" {
		text.WriteString(", which the caller has to make of it")
	}
	fmt.Fprintf(&text, ".\ntype %s struct {\n", name)
	names := newFieldNamer()
	for _, part := range of.Fields {
		if !isTag(part.Key) {
			fmt.Fprintf(&text, "\t// %s cannot be written as a tag: decode it in UnmarshalJSON\n", strconv.Quote(part.Key))
			continue
		}
		made := f.fieldType(class, part, name)
		fmt.Fprintf(&text, "\t%s %s `json:%s`%s\n", names.take(exported(part.Name, "X")), made.text, strconv.Quote(part.Key), fieldRemark(part, made))
	}
	f.types = append(f.types, text.String()+"}\n")
}

// fieldRemark says what the Go type does not.
func fieldRemark(part field, made goType) string {
	var remarks []string
	if strings.Contains(made.text, "json.RawMessage") && part.Type != nil {
		remarks = append(remarks, oneLine(part.Type.Text))
	}
	if part.Default != nil && part.Default.Source != "None" {
		remarks = append(remarks, "default "+oneLine(part.Default.Source))
	}
	if len(remarks) == 0 {
		return ""
	}
	return " // " + strings.Join(remarks, "; ")
}

// isTag reports whether a key can stand in a tag of encoding/json.
func isTag(key string) bool {
	return key != "" && key != "-" && !strings.ContainsFunc(key, func(r rune) bool {
		return r == unicode.ReplacementChar || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r)
	})
}

// declareTuple declares a struct that is a list in messages. class is "" for a tuple that has no
// name in Python.
func (f *goFile) declareTuple(name, comment, class string, fields []field) {
	f.use("pyjson")
	f.use("errors")
	var text, reads, writes strings.Builder
	fmt.Fprintf(&text, "// %s %s: a list in messages.\ntype %s struct {\n", name, comment, name)
	names := newFieldNamer()
	for i, part := range fields {
		made, goName := f.fieldType(class, part, name), names.take(exported(part.Name, "X"))
		fmt.Fprintf(&text, "\t%s %s%s\n", goName, made.text, fieldRemark(part, made))
		fmt.Fprintf(&reads, "pyjson.Unmarshal(values[%d], &v.%s),\n", i, goName)
		fmt.Fprintf(&writes, "v.%s,", goName)
	}
	fmt.Fprintf(&text, `}

// UnmarshalJSON reads the list.
func (v *%[1]s) UnmarshalJSON(data []byte) error {
	values := pyjson.Elements(data)
	if len(values) != %[2]d {
		return errors.New("%[1]s has %[2]d values")
	}
	return errors.Join(
		%[3]s)
}

// MarshalJSON writes the list.
func (v %[1]s) MarshalJSON() ([]byte, error) {
	return pyjson.Append(nil, []any{%[4]s})
}
`, name, len(fields), reads.String(), strings.TrimSuffix(writes.String(), ","))
	f.types = append(f.types, text.String())
}

// declareEnum declares a type with a constant for each of some texts or integers.
func (f *goFile) declareEnum(name, comment string, members []member) goType {
	made := goType{text: name, zero: `""`}
	kind, seen := "string", map[string]bool{}
	var constants, values []string
	for _, m := range members {
		var text string
		value := string(m.Value)
		if json.Unmarshal(m.Value, &text) == nil {
			value = strconv.Quote(text)
		} else {
			kind, made.zero = "int64", "0"
		}
		if seen[value] {
			continue
		}
		seen[value] = true
		constant := f.names.take(name + memberName(m.Name))
		values = append(values, constant)
		constants = append(constants, fmt.Sprintf("\t%s %s = %s\n", constant, name, value))
	}
	f.use("fmt")
	reader := enumText
	if kind == "int64" {
		f.use("pyjson")
		reader = enumInt
	}
	f.types = append(f.types, fmt.Sprintf("// %[1]s %[2]s.\ntype %[1]s %[3]s\n\n// The values of %[1]s.\nconst (\n%[4]s)\n",
		name, comment, kind, strings.Join(constants, ""))+fmt.Sprintf(reader, name, strings.Join(values, ", ")))
	made.holds = func(v any) bool {
		if text, ok := v.(string); ok {
			return kind == "string" && seen[strconv.Quote(text)]
		}
		number, ok := v.(json.Number)
		return ok && kind == "int64" && seen[string(number)]
	}
	return made
}

// memberName is what the constant of a member is called behind its type.
func memberName(name string) string {
	if name == strings.ToUpper(name) { // as constants are written in Python
		name = strings.ToLower(name)
	}
	if rest, negative := strings.CutPrefix(name, "-"); negative {
		name = "minus " + rest
	}
	return exported(name, "Value")
}

const enumText = `
// UnmarshalText refuses other values.
func (v *%[1]s) UnmarshalText(text []byte) error {
	switch value := %[1]s(text); value {
	case %[2]s:
		*v = value
		return nil
	default:
		return fmt.Errorf("'%%s' is not a valid %[1]s", text)
	}
}
`

const enumInt = `
// UnmarshalJSON refuses other values.
func (v *%[1]s) UnmarshalJSON(data []byte) error {
	var number int64
	if err := pyjson.Unmarshal(data, &number); err != nil {
		return err
	}
	switch value := %[1]s(number); value {
	case %[2]s:
		*v = value
		return nil
	default:
		return fmt.Errorf("%%d is not a valid %[1]s", number)
	}
}
`
