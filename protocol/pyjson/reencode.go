package pyjson

import (
	"bytes"
	"strconv"
)

// Reencode appends the value in data, valid JSON, as Python's json.dumps(json.loads(data))
// with kombu's types writes it: with its spacing, escapes, floats and __type__ objects,
// whoever wrote it. Members keep their order, and a member that is there twice stays so.
// Half of a surrogate pair stays as it is. dst is returned as it came with an error: a
// [*SyntaxError], or a [*MarkerError] for a __type__ object that kombu does not read.
func Reencode(dst, data []byte) ([]byte, error) {
	s := NewScanner(data)
	out, err := reencode(dst, &s)
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

func reencode(dst []byte, s *Scanner) ([]byte, error) {
	if v, err := s.KombuValue(); v != nil || err != nil {
		if err != nil {
			return dst, err
		}
		return Append(dst, v)
	}
	switch s.Kind() {
	case '{':
		return reencodeMembers(dst, s)
	case '[':
		return reencodeElements(dst, s)
	case '"':
		return reencodeText(dst, s.Value()), s.Err()
	}
	raw := s.Value()
	if len(raw) == 0 || !bytes.ContainsAny(raw[len(raw)-1:], "0123456789") {
		return append(dst, raw...), s.Err() // a word
	}
	if string(raw) == "-0" {
		raw = raw[1:]
	}
	if !bytes.ContainsAny(raw, ".eE") {
		return append(dst, raw...), s.Err()
	}
	f, _ := strconv.ParseFloat(string(raw), 64) // too large is infinite, as in Python
	return appendFloat(dst, f, 64), s.Err()
}

func reencodeMembers(dst []byte, s *Scanner) (_ []byte, err error) {
	s.Enter('{')
	dst = append(dst, '{')
	for first := true; s.Next(); first = false {
		if !first {
			dst = append(dst, ", "...)
		}
		dst = append(appendString(dst, s.Key()), ": "...)
		if dst, err = reencode(dst, s); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), s.Err()
}

func reencodeElements(dst []byte, s *Scanner) (_ []byte, err error) {
	s.Enter('[')
	dst = append(dst, '[')
	for first := true; s.Next(); first = false {
		if !first {
			dst = append(dst, ", "...)
		}
		if dst, err = reencode(dst, s); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), s.Err()
}

// reencodeText appends a string, given with its quotes.
func reencodeText(dst, raw []byte) []byte {
	if !bytes.Contains(raw, []byte(`\ud`)) && !bytes.Contains(raw, []byte(`\uD`)) {
		if text, err := Unquote(raw); err == nil {
			return appendString(dst, text)
		}
	}
	return append(dst, raw...) // perhaps half a surrogate pair, which a Go string cannot hold
}
