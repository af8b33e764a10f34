package pyjson

import "iter"

// Members walks through the names and values of an object, as they stand, in order; of a
// name that comes twice, the last counts in Python. It ends early at what is no JSON, and
// at once if raw is no object: a [Scanner] tells what was wrong.
func Members(raw []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		s := NewScanner(raw)
		if !s.Enter('{') {
			return
		}
		for s.Next() {
			name := string(s.Key())
			if value := s.Value(); value == nil || !yield(name, value) {
				return
			}
		}
	}
}

// Elements returns the values of an array, as they stand; nil if raw is no array, and those
// before the fault if it is none to its end: a [Scanner] tells what was wrong.
func Elements(raw []byte) (values [][]byte) {
	s := NewScanner(raw)
	if !s.Enter('[') {
		return nil
	}
	for s.Next() {
		if value := s.Value(); value != nil {
			values = append(values, value)
		}
	}
	return values
}

// Member returns the value that a name has in an object, the last if it comes twice; nil
// if raw is no object or has no such member.
func Member(raw []byte, name string) (value []byte) {
	s := NewScanner(raw)
	if !s.Enter('{') {
		return nil
	}
	for s.Next() {
		if string(s.Key()) == name {
			value = s.Value()
		}
	}
	return value
}
