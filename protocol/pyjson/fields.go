package pyjson

import (
	"reflect"
	"slices"
	"strings"
)

// structFields are the members of a struct, by the rules of encoding/json.
type structFields struct {
	list   []field // in order of declaration
	byName map[string]int
}

type field struct {
	name      string
	index     []int  // as for reflect.Value.FieldByIndex
	prefix    string // the name as written: "name": with the quotes, colon and space
	tagged    bool
	omitEmpty bool
	omitZero  bool
	codec     *codec
}

// lookup returns the place of the field for a key, by its exact name or else
// without regard to case, or -1.
func (f *structFields) lookup(key []byte) int {
	if i, ok := f.byName[string(key)]; ok {
		return i
	}
	for i := range f.list {
		if strings.EqualFold(f.list[i].name, string(key)) {
			return i
		}
	}
	return -1
}

// fields collects the fields of t and of the structs embedded in it. Of those
// with one name the least deep counts, and among these the one named by a tag;
// if that leaves several, there is none.
func (b builder) fields(t reflect.Type) *structFields {
	var all []field
	collectFields(t, nil, map[reflect.Type]bool{}, &all)
	byName := map[string][]field{}
	for _, f := range all {
		byName[f.name] = append(byName[f.name], f)
	}
	fields := &structFields{byName: map[string]int{}}
	for _, f := range all {
		if dominant(byName[f.name], f) {
			f.codec = b.codec(t.FieldByIndex(f.index).Type)
			f.prefix = string(append(appendString(nil, f.name), ": "...))
			fields.byName[f.name] = len(fields.list)
			fields.list = append(fields.list, f)
		}
	}
	return fields
}

// dominant tells whether f hides all the others of its name.
func dominant(rivals []field, f field) bool {
	for _, r := range rivals {
		if slices.Equal(r.index, f.index) {
			continue
		}
		shallower := len(f.index) < len(r.index)
		better := len(f.index) == len(r.index) && f.tagged && !r.tagged
		if !shallower && !better {
			return false
		}
	}
	return true
}

func collectFields(t reflect.Type, at []int, around map[reflect.Type]bool, all *[]field) {
	if around[t] { // a struct that embeds a pointer to itself
		return
	}
	around[t] = true
	defer delete(around, t)
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		index := append(slices.Clone(at), i)
		if sf.Anonymous && name == "" {
			embedded := sf.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			if embedded.Kind() == reflect.Struct && (sf.IsExported() || sf.Type.Kind() == reflect.Struct) {
				collectFields(embedded, index, around, all)
				continue
			}
		}
		if !sf.IsExported() {
			continue
		}
		f := field{name: name, index: index, tagged: name != ""}
		if name == "" {
			f.name = sf.Name
		}
		for option := range strings.SplitSeq(options, ",") {
			f.omitEmpty = f.omitEmpty || option == "omitempty"
			f.omitZero = f.omitZero || option == "omitzero"
		}
		*all = append(*all, f)
	}
}

// at returns the field's value in v, making embedded pointers on the way.
func (f *field) at(v reflect.Value) reflect.Value {
	if len(f.index) == 1 {
		return v.Field(f.index[0])
	}
	for i, n := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v
}

// structDecoder fills fields by name; other members are checked and dropped.
func structDecoder(fields *structFields) func(*decoder, reflect.Value) error {
	return func(d *decoder, v reflect.Value) error {
		if err := d.notMarker(v.Type()); err != nil {
			return err
		}
		if err := d.enter(); err != nil {
			return err
		}
		var few [64]bool
		seen := few[:]
		if len(fields.list) > len(few) {
			seen = make([]bool, len(fields.list))
		}
		for first := true; ; first = false {
			more, err := d.more(first, '}')
			if !more {
				return err
			}
			key, err := d.key()
			if err != nil {
				return err
			}
			i := fields.lookup(key)
			if i < 0 {
				if _, err := d.raw(); err != nil {
					return err
				}
				continue
			}
			f := &fields.list[i]
			if !f.codec.takesNull && d.null() {
				continue
			}
			target := f.at(v)
			if seen[i] {
				target.SetZero() // or parts of the first value would stay
			}
			seen[i] = true
			if err := f.codec.decode(d, target); err != nil {
				return atPath(f.name, err)
			}
		}
	}
}
