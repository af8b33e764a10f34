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

// CutLast takes the last value off an array: it returns the array of those before it, as they stand, and that
// value. Both are nil if raw is an empty array, or none. raw must be JSON: it is read from its end, so that
// what is before the last value costs no more than a copy.
func CutLast(raw []byte) (before, last []byte) {
	start, end := skipSpace(raw, 0), lastText(raw, len(raw)) // of the array, brackets included
	if start > end || raw[start] != '[' || raw[end] != ']' {
		return nil, nil
	}
	comma := commaBefore(raw, start, end)
	from := skipSpace(raw, comma+1)
	if from >= end {
		return nil, nil
	}
	last = raw[from : lastText(raw, end)+1]
	if comma == start {
		return []byte("[]"), last
	}
	before = append(before, raw[start:lastText(raw, comma)+2]...)
	before[len(before)-1] = ']'
	return before, last
}

// lastText is where the last byte before end is that is no space; -1: there is none.
func lastText(raw []byte, end int) int {
	for end--; end >= 0; end-- {
		switch raw[end] {
		case ' ', '\n', '\t', '\r':
		default:
			return end
		}
	}
	return end
}

// commaBefore is where the last comma is between the values of an array that has its brackets at start and end;
// start: it has none.
func commaBefore(raw []byte, start, end int) int {
	depth := 0
	for i := end - 1; i > start; i-- {
		switch raw[i] {
		case '"':
			for i--; i > start && (raw[i] != '"' || isEscaped(raw, i)); i-- {
			}
		case ']', '}':
			depth++
		case '[', '{':
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return start
}

// isEscaped tells whether an odd number of backslashes is before a byte.
func isEscaped(raw []byte, at int) bool {
	n := 0
	for n < at && raw[at-1-n] == '\\' {
		n++
	}
	return n%2 == 1
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
