package protocol

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// Producers that are not written in Python put values into messages that are of another
// type than Celery's. A Python worker does not look and uses them as far as its
// operators go; what is here does the same.

// truth is Python's bool of a JSON value: false for null, 0, "", [] (which is how PHP
// writes an empty map, too) and {}.
func truth(raw []byte) bool {
	switch pyjson.Kind(raw) {
	case 0, 'n', 'f':
		return false
	case '0':
		f, err := strconv.ParseFloat(string(raw), 64)
		return err != nil || f != 0
	case '"':
		return len(raw) > 2
	case '[', '{':
		return len(bytes.TrimSpace(raw[1:len(raw)-1])) > 0
	default:
		return true
	}
}

// iterated returns what Python's * makes of a JSON value, as an array: the keys of an
// object, the characters of a string. It returns false for what cannot be iterated over.
func iterated(raw []byte) ([]byte, bool) {
	switch pyjson.Kind(raw) {
	case '[':
		return raw, true
	case '{':
		var keys []string
		seen := map[string]bool{}
		s := pyjson.NewScanner(raw)
		for s.Enter('{'); s.Next(); {
			if key := string(s.Key()); !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
		return appendStrings(nil, keys), true
	case '"':
		text, _ := pyjson.UnquoteBytes(raw)
		var characters []string
		for len(text) > 0 {
			_, size := pyjson.DecodeRune(text)
			characters = append(characters, string(text[:size]))
			text = text[size:]
		}
		return appendStrings(nil, characters), true
	default:
		return nil, false
	}
}

// looseNumber reads a finite number, also one that is written as text, and booleans as
// Python's 0 and 1.
func looseNumber(raw []byte) (float64, bool) {
	switch pyjson.Kind(raw) {
	case 't':
		return 1, true
	case 'f':
		return 0, true
	case '"':
		text, err := pyjson.Unquote(raw)
		if err != nil {
			return 0, false
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	default:
		return number(raw)
	}
}

// looseInteger is looseNumber cut to an integer that is exact as a float64.
func looseInteger(raw []byte) (int, bool) {
	if len(raw) == 1 && isDigit(raw[0]) {
		return int(raw[0] - '0'), true
	}
	f, ok := looseNumber(raw)
	return int(min(max(f, -1<<53), 1<<53)), ok
}
