package stubs

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// pyTypes writes Go types as annotations, and the classes that they need.
type pyTypes struct {
	module  *pyModule
	named   map[reflect.Type]string // classes by the struct that they stand for
	classes []string
}

func newPyTypes() *pyTypes { return &pyTypes{named: map[reflect.Type]string{}} }

var (
	marshaler       = reflect.TypeFor[json.Marshaler]()
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// pyOwn are the Python types of Go types whose kind does not tell.
var pyOwn = map[reflect.Type]string{
	reflect.TypeFor[[]byte]():         "bytes",
	reflect.TypeFor[big.Int]():        "int",
	reflect.TypeFor[big.Float]():      "float",
	reflect.TypeFor[big.Rat]():        "decimal.Decimal",
	reflect.TypeFor[json.Number]():    "float",
	reflect.TypeFor[time.Time]():      "datetime.datetime",
	reflect.TypeFor[time.Duration]():  "float",
	reflect.TypeFor[pyjson.Date]():    "datetime.date",
	reflect.TypeFor[pyjson.Clock]():   "datetime.time",
	reflect.TypeFor[pyjson.Decimal](): "decimal.Decimal",
	reflect.TypeFor[pyjson.UUID]():    "uuid.UUID",
}

// of returns the annotation for what has a Go type; nil: anything.
func (p *pyTypes) of(t reflect.Type) string {
	switch {
	case t == nil:
		return p.imported("Any")
	case t.Kind() == reflect.Pointer:
		text := p.of(t.Elem())
		if text != "Any" && !strings.HasSuffix(text, " | None") {
			text += " | None"
		}
		return text
	case pyOwn[t] != "":
		return p.imported(pyOwn[t])
	}
	if text := p.ofItself(t); text != "" {
		return text
	}
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return "bool"
	case k >= reflect.Int && k <= reflect.Uintptr:
		return "int"
	case k == reflect.Float32 || k == reflect.Float64:
		return "float"
	case k == reflect.String:
		return "str"
	case k == reflect.Slice || k == reflect.Array:
		return "list[" + p.of(t.Elem()) + "]"
	case k == reflect.Map:
		return "dict[" + p.key(t.Key()) + ", " + p.of(t.Elem()) + "]"
	case k == reflect.Struct && t.Name() != "":
		return p.class(t)
	case k == reflect.Struct:
		return "dict[str, " + p.imported("Any") + "]"
	}
	return p.imported("Any")
}

// ofItself is the annotation for a type that reads or writes its own JSON: nobody knows what it
// takes, unless it is a text. "": it does not.
func (p *pyTypes) ofItself(t reflect.Type) string {
	pointer := reflect.PointerTo(t)
	switch {
	case pointer.Implements(marshaler), pointer.Implements(unmarshaler):
		return p.imported("Any")
	case !pointer.Implements(textUnmarshaler):
		return ""
	case t.Kind() == reflect.String:
		return "str"
	}
	return p.imported("Any")
}

func (p *pyTypes) key(t reflect.Type) string {
	if k := t.Kind(); k >= reflect.Int && k <= reflect.Uintptr && p.ofItself(t) == "" {
		return "int"
	}
	return "str"
}

// elem is the annotation for one of those that *args or **kwargs stands for.
func (p *pyTypes) elem(t reflect.Type) string {
	if t == nil {
		return p.of(nil)
	}
	return p.of(t.Elem())
}

// imported notes what an annotation has to have imported.
func (p *pyTypes) imported(text string) string {
	module, _, _ := strings.Cut(text, ".")
	p.module.imports[module] = true
	return text
}

// class writes a struct as a TypedDict. Fields that a caller leaves out are zero in Go.
func (p *pyTypes) class(t reflect.Type) string {
	if name, ok := p.named[t]; ok {
		return name
	}
	name := p.module.names.take(pyIdentifier(t.Name()))
	p.named[t] = name // before its fields, which may lead back to it
	p.module.imports["TypedDict"] = true
	plain, fields := true, []string{}
	seen := map[string]bool{}
	for _, field := range reflect.VisibleFields(t) {
		key := jsonName(field)
		if key == "" || seen[key] {
			continue
		}
		seen[key] = true
		plain = plain && isPyIdentifier(key) && !strings.HasPrefix(key, "__")
		fields = append(fields, key, p.of(field.Type))
	}
	p.classes = append(p.classes, pyClass(name, fields, plain))
	return name
}

// pyClass writes a class of keys and their annotations in turns. Keys that are no names in
// Python take the form of a call.
func pyClass(name string, fields []string, plain bool) string {
	var text strings.Builder
	if !plain {
		fmt.Fprintf(&text, "\n\n%s = TypedDict(%s, {\n", name, pyString(name))
		for i := 0; i < len(fields); i += 2 {
			fmt.Fprintf(&text, "    %s: %s,\n", pyString(fields[i]), pyString(fields[i+1]))
		}
		return text.String() + "}, total=False)\n"
	}
	fmt.Fprintf(&text, "\n\nclass %s(TypedDict, total=False):\n", name)
	if len(fields) == 0 {
		text.WriteString("    pass\n")
	}
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&text, "    %s: %s\n", fields[i], fields[i+1])
	}
	return text.String()
}

// jsonName is the name of a field in JSON, as encoding/json has it; "": it has none.
func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	switch {
	case !field.IsExported(), field.Tag.Get("json") == "-":
		return ""
	case name != "":
		return name
	case field.Anonymous && (field.Type.Kind() == reflect.Struct || field.Type.Kind() == reflect.Pointer):
		return "" // its fields stand for it
	}
	return field.Name
}
