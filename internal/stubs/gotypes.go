package stubs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// goType is what a Python type is in Go.
type goType struct {
	text  string
	zero  string               // an expression
	null  bool                 // None is nil
	holds func(value any) bool // whether it can hold a default
}

func anything(any) bool { return true }

// raw is the type of a parameter of which nothing is known.
func (f *goFile) raw() goType {
	return goType{text: f.use("json") + "RawMessage", zero: "nil", null: true, holds: anything}
}

// use notes that a package is imported, and returns its name with a dot.
func (f *goFile) use(name string) string {
	f.imports[name] = true
	return name + "."
}

// of is the Go type of a parameter, a field, or a part of one. context names types that have no
// name in Python.
func (f *goFile) of(t *pyType, context string) goType {
	if t == nil {
		return f.raw()
	}
	if plain, ok := plainTypes[t.Kind]; ok {
		if pkg, _, qualified := strings.Cut(plain.text, "."); qualified {
			f.use(pkg)
		}
		return plain
	}
	switch t.Kind {
	case "list":
		of := f.of(t.Of, context)
		return goType{text: "[]" + of.text, zero: "nil", null: true, holds: func(v any) bool {
			list, ok := v.([]any)
			return ok && !slices.ContainsFunc(list, func(item any) bool { return !of.holds(item) })
		}}
	case "dict":
		return f.dict(t, context)
	case "optional":
		return optional(f.of(t.Of, context))
	case "tuple":
		return f.tuple(t, context)
	case "literal":
		return f.literal(t, context)
	case "named":
		return f.named(t.Name)
	}
	return f.raw()
}

func isInt(v any) bool {
	number, ok := v.(json.Number)
	_, err := strconv.ParseInt(string(number), 10, 64)
	return ok && err == nil
}

func isFloat(v any) bool {
	number, ok := v.(json.Number)
	_, err := strconv.ParseFloat(string(number), 64)
	return ok && err == nil
}

func isText(v any) bool { _, ok := v.(string); return ok }
func isBool(v any) bool { _, ok := v.(bool); return ok }
func never(any) bool    { return false }

var plainTypes = map[string]goType{
	"int":       {text: "int64", zero: "0", holds: isInt},
	"float":     {text: "float64", zero: "0", holds: isFloat},
	"str":       {text: "string", zero: `""`, holds: isText},
	"bool":      {text: "bool", zero: "false", holds: isBool},
	"bytes":     {text: "[]byte", zero: "nil", null: true, holds: never},
	"datetime":  {text: "time.Time", zero: "time.Time{}", holds: never},
	"date":      {text: "pyjson.Date", zero: "pyjson.Date{}", holds: never},
	"time":      {text: "pyjson.Clock", zero: "pyjson.Clock{}", holds: never},
	"timedelta": {text: "time.Duration", zero: "0", holds: never},
	"decimal":   {text: "pyjson.Decimal", zero: `""`, holds: isFloat},
	"uuid":      {text: "pyjson.UUID", zero: "pyjson.UUID{}", holds: never},
}

// optional is a type that takes None, too.
func optional(t goType) goType {
	if t.null {
		return t
	}
	return goType{text: "*" + t.text, zero: "nil", null: true, holds: func(v any) bool { return v == nil || t.holds(v) }}
}

func (f *goFile) dict(t *pyType, context string) goType {
	of, key := f.of(t.Of, context), "string"
	if t.Key != nil && t.Key.Kind == "int" {
		key = "int64"
	}
	return goType{text: "map[" + key + "]" + of.text, zero: "nil", null: true, holds: func(v any) bool {
		dict, ok := v.(map[string]any)
		for name, value := range dict {
			_, err := strconv.ParseInt(name, 10, 64)
			ok = ok && of.holds(value) && (key == "string" || err == nil)
		}
		return ok
	}}
}

// tuple is an array if all its parts are alike, else a struct that reads and writes a list.
func (f *goFile) tuple(t *pyType, context string) goType {
	fields := make([]field, len(t.Items))
	parts := make([]goType, len(t.Items))
	for i, item := range t.Items {
		fields[i] = field{Name: "item " + strconv.Itoa(i+1), Type: item}
		parts[i] = f.of(item, context+" item")
	}
	if !slices.ContainsFunc(parts, func(p goType) bool { return p.text != parts[0].text }) {
		text := fmt.Sprintf("[%d]%s", len(parts), parts[0].text)
		return goType{text: text, zero: text + "{}", holds: never}
	}
	name := f.names.take(exported(context, "Tuple"))
	f.declareTuple(name, "is a tuple: "+oneLine(t.Text), "", fields)
	return goType{text: name, zero: name + "{}", holds: never}
}

// literal is a type with a constant for each of the values.
func (f *goFile) literal(t *pyType, context string) goType {
	key := string(bytes.Join(rawBytes(t.Values), []byte(",")))
	if known, ok := f.literals[key]; ok {
		return known
	}
	members := make([]member, len(t.Values))
	for i, value := range t.Values {
		members[i] = member{Name: strings.Trim(string(value), `"`), Value: value}
	}
	name := f.names.take(exported(context, "Literal"))
	made := f.declareEnum(name, "is "+oneLine(t.Text), members)
	f.literals[key] = made
	return made
}

func rawBytes(values []json.RawMessage) (list [][]byte) {
	for _, value := range values {
		list = append(list, value)
	}
	return list
}

// named is the Go type of a class.
func (f *goFile) named(name string) goType {
	if known, ok := f.classes[name]; ok {
		return known
	}
	class, ok := f.project.Types[name]
	if !ok {
		return f.raw()
	}
	goName := f.names.take(exported(class.Name, "Type"), exported(class.Module+" "+class.Name, "Type"))
	comment := "is " + class.Module + "." + class.Name
	if class.Kind == "enum" {
		f.classes[name] = f.declareEnum(goName, oneLine(comment), class.Members)
		return f.classes[name]
	}
	made := goType{text: goName, zero: goName + "{}", holds: never}
	f.classes[name] = made // before its fields, which may lead back to it
	if class.Kind == "tuple" {
		f.declareTuple(goName, oneLine(comment), name, class.Fields)
	} else {
		f.declareStruct(goName, name, &class)
	}
	return made
}

// result is the Go type of a result; ok false: there is none.
func (f *goFile) result(t *pyType, context string) (made goType, ok bool) {
	if t != nil && t.Kind == "none" {
		return goType{}, false
	}
	return f.resultPart(t, context), true
}

func (f *goFile) resultPart(t *pyType, context string) goType {
	nothing := goType{text: "any", zero: "nil", null: true, holds: anything}
	if t == nil {
		return nothing
	}
	switch t.Kind {
	case "list":
		return goType{text: "[]" + f.resultPart(t.Of, context).text, zero: "nil", null: true, holds: never}
	case "dict":
		made := f.dict(&pyType{Key: t.Key}, context)
		return goType{text: strings.TrimSuffix(made.text, "json.RawMessage") + f.resultPart(t.Of, context).text, zero: "nil", null: true, holds: never}
	case "optional":
		return optional(f.resultPart(t.Of, context))
	case "tuple":
		return goType{text: "[]any", zero: "nil", null: true, holds: never}
	case "any", "unknown", "none":
		return nothing
	}
	return f.of(t, context)
}

// holdsByValue reports whether a value of a type has one of the class in itself, not behind a
// pointer: a struct in Go cannot have itself as a part.
func (f *goFile) holdsByValue(t *pyType, class string, seen map[string]bool) bool {
	if t == nil {
		return false
	}
	switch t.Kind {
	case "tuple":
		return slices.ContainsFunc(t.Items, func(item *pyType) bool { return f.holdsByValue(item, class, seen) })
	case "named":
		if t.Name == class {
			return true
		}
		if seen[t.Name] {
			return false
		}
		seen[t.Name] = true
		return slices.ContainsFunc(f.project.Types[t.Name].Fields, func(part field) bool { return f.holdsByValue(part.Type, class, seen) })
	}
	return false
}
