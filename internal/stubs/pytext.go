package stubs

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/apium/apium/protocol/pyjson"
)

var pyKeywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
	"del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
	"lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
}

// pyTaken are names that a stub module uses itself.
var pyTaken = []string{
	"Any", "TypedDict", "annotations", "datetime", "decimal", "uuid", "shared_task", "NotImplementedError",
	"bool", "bytes", "dict", "float", "int", "list", "str",
}

// pyNames are what the function of a task may be called, the shortest first.
func pyNames(task string) (names []string) {
	parts := strings.Split(task, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		names = append(names, pyIdentifier(strings.Join(parts[i:], "_")))
	}
	return names
}

// pyIdentifier makes a name of a text.
func pyIdentifier(text string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r < unicode.MaxASCII && unicode.IsOneOf(letterOrDigit, r) || r > unicode.MaxASCII && unicode.IsLetter(r) {
			return r
		}
		return '_'
	}, text)
	if strings.Trim(name, "_") == "" {
		name = "task"
	}
	if unicode.IsDigit(rune(name[0])) || slices.Contains(pyKeywords, name) {
		name = "task_" + name
	}
	return name
}

var letterOrDigit = []*unicode.RangeTable{unicode.Letter, unicode.Digit}

// isPyIdentifier reports whether a text is a name in Python that Python leaves as it is.
func isPyIdentifier(text string) bool {
	return text != "" && pyIdentifier(text) == text && !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}

// pyString writes a text as a Python literal.
func pyString(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r > 0xffff && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// pyDoc makes a text one line that can stand in a docstring.
func pyDoc(text string) string {
	return strings.NewReplacer(`\`, "/", `"`, "'").Replace(strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " "))
}

// pyLiteral writes JSON as Python.
func pyLiteral(raw []byte) string {
	switch pyjson.Kind(raw) {
	case 'n':
		return "None"
	case 't':
		return "True"
	case 'f':
		return "False"
	case '"':
		text, err := pyjson.Unquote(raw)
		if err != nil || strings.ContainsRune(text, unicode.ReplacementChar) {
			return string(raw) // half of a surrogate pair, which both write alike
		}
		return pyString(text)
	case '[':
		var items []string
		for _, item := range pyjson.Elements(raw) {
			items = append(items, pyLiteral(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case '{':
		var items []string
		for key, value := range pyjson.Members(raw) {
			items = append(items, pyString(key)+": "+pyLiteral(value))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	switch text := string(raw); text {
	case "NaN", "Infinity", "-Infinity":
		return `float("` + text + `")`
	default:
		return text
	}
}
