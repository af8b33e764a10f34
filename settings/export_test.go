package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

// Described is what docs/settings.md says of a setting.
type Described struct {
	Name, Old          string
	Default            string // "": it is ours, and Field says it
	Field              string // of Settings; "": it has none
	Ignored, Elsewhere string
	ByPython           bool
}

// DescribedTable returns all settings, group by group.
func DescribedTable() map[string][]Described {
	groups := map[string][]Described{}
	for title, group := range map[string][]entry{
		"Tasks": taskEntries, "Worker": workerEntries, "Broker": brokerEntries, "Results": slices.Concat(resultEntries, backendEntries),
		"RedBeat and django-celery-beat": extensionEntries, "Beat, events and the rest": otherEntries, "Apium's own": ownEntries,
	} {
		for _, e := range group {
			def := shown(e.def)
			if e.ours {
				def = ""
			}
			groups[title] = append(groups[title], Described{
				Name: e.name, Old: e.old, Default: def, Field: fieldOf(e), Ignored: e.ignored, Elsewhere: e.elsewhere, ByPython: e.byPython,
			})
		}
	}
	return groups
}

// fieldOf is the name of the field where a setting goes.
func fieldOf(e entry) string {
	if e.field == nil {
		return ""
	}
	s := &Settings{}
	begin := uintptr(unsafe.Pointer(s))
	to := reflect.ValueOf(e.field(s))
	for to.Kind() == reflect.Struct { // what decodes into the field
		to = to.Field(0)
	}
	at := to.Pointer() - begin
	fields := reflect.TypeFor[Settings]()
	for i := range fields.NumField() {
		if f := fields.Field(i); at >= f.Offset && at < f.Offset+f.Type.Size() {
			return f.Name
		}
	}
	return ""
}

// shown is a default as Python writes it.
func shown(def any) string {
	switch v := def.(type) {
	case nil:
		return "None"
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	case string:
		return "'" + v + "'"
	case float64:
		if text := fmt.Sprint(v); strings.ContainsAny(text, ".e") {
			return text
		}
		return fmt.Sprintf("%.1f", v)
	case []any:
		list := make([]string, len(v))
		for i := range v {
			list[i] = shown(v[i])
		}
		return "[" + strings.Join(list, ", ") + "]"
	case object:
		list := make([]string, len(v))
		for i := range v {
			list[i] = "'" + v[i].key + "': " + shown(v[i].value)
		}
		return "{" + strings.Join(list, ", ") + "}"
	}
	return fmt.Sprint(def)
}
