package tasks

import (
	"fmt"
	"reflect"
	"strings"
)

// isArguments reports whether t is a struct, or a pointer to one, whose fields stand
// for a task's arguments. A struct that is a value of its own in JSON is not.
func isArguments(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && pythonTypes[t] == "" && !decodesItself(t)
}

// layOutStruct makes the signature of a function from the fields of its one parameter:
// each is written as Python would write the parameter, and the list is parsed.
func (p *function) layOutStruct() error {
	t := p.inputs[0]
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
		p.keeps = true
	}
	var list []string
	for _, field := range reflect.VisibleFields(t) {
		text := paramText(field)
		if text == "" || throughPointer(t, field.Index) {
			continue
		}
		if reason := unbindable(field.Type); reason != "" {
			return fmt.Errorf("field %s of %s cannot take a value from a message: %s", field.Name, t, reason)
		}
		at := slot{field: field.Index}
		switch {
		case strings.HasPrefix(text, "**"):
			p.varKw = at
		case strings.HasPrefix(text, "*"):
			p.varArgs = at
		default:
			p.named = append(p.named, at)
		}
		list = append(list, text)
	}
	var err error
	if p.sig, err = parseSignature(strings.Join(list, ", ")); err != nil {
		return fmt.Errorf("the fields of %s as parameters (%s): %w", t, strings.Join(list, ", "), err)
	}
	return p.checkCollectors()
}

// paramText writes a field as a Python parameter, "" if it is none. The name is that
// of the celery tag, the json tag, or the field's in lower case.
func paramText(field reflect.StructField) string {
	if !field.IsExported() || field.Anonymous && field.Type.Kind() == reflect.Struct {
		return ""
	}
	name, def, hasDefault := strings.Cut(field.Tag.Get("celery"), ",")
	if name == "" {
		name, _, _ = strings.Cut(field.Tag.Get("json"), ",")
	}
	switch name {
	case "-":
		return ""
	case "":
		name = strings.ToLower(field.Name)
	}
	if hasDefault {
		return name + "=" + def
	}
	return name
}

// throughPointer reports whether a promoted field lies behind an embedded pointer.
func throughPointer(t reflect.Type, index []int) bool {
	for i := 1; i < len(index); i++ {
		if t.FieldByIndex(index[:i]).Type.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}
