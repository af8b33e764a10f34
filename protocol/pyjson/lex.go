package pyjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Kind tells what a JSON value is by its first character: 'n' null, 't' true,
// 'f' false, '0' any number (also NaN and the infinities), '"' string, '['
// array, '{' object, and 0 for what can be none of these.
func Kind(raw []byte) byte {
	i := skipSpace(raw, 0)
	if i == len(raw) {
		return 0
	}
	return kindOf[raw[i]]
}

var kindOf = [256]byte{
	'n': 'n', 't': 't', 'f': 'f', '"': '"', '[': '[', '{': '{',
	'-': '0', 'N': '0', 'I': '0',
	'0': '0', '1': '0', '2': '0', '3': '0', '4': '0',
	'5': '0', '6': '0', '7': '0', '8': '0', '9': '0',
}

func skipSpace(data []byte, i int) int {
	for i < len(data) {
		switch data[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// skipString passes over the string whose opening quote is at i. plain is true
// when the text between the quotes is ASCII without escapes, that is, when it
// is its own value.
func skipString(data []byte, i int) (end int, plain bool, err error) {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	start := i
	plain = true
	i++
	for {
		for i+8 <= len(data) {
			x := binary.LittleEndian.Uint64(data[i:])
			quote, escape := x^(ones*'"'), x^(ones*'\\')
			stop := ((quote-ones)&^quote | (escape-ones)&^escape | (x-ones*' ')&^x) & highs
			if stop != 0 {
				n := bits.TrailingZeros64(stop) / 8
				if x&highs&(1<<(8*n)-1) != 0 {
					plain = false
				}
				i += n
				break
			}
			if x&highs != 0 {
				plain = false
			}
			i += 8
		}
		if i == len(data) {
			return i, false, newSyntaxError(data, start, "Unterminated string starting at")
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, plain, nil
		case c == '\\':
			plain = false
			if i, err = skipEscape(data, start, i); err != nil {
				return i, false, err
			}
		case c < ' ':
			return i, false, newSyntaxError(data, i, "Invalid control character at")
		default:
			if c >= 0x80 {
				plain = false
			}
			i++
		}
	}
}

func skipEscape(data []byte, start, i int) (end int, err error) {
	if i+1 == len(data) {
		return i, newSyntaxError(data, start, "Unterminated string starting at")
	}
	switch data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
		if _, ok := hex4(data, i+2); !ok {
			return i, newSyntaxError(data, i+1, `Invalid \uXXXX escape`)
		}
		return i + 6, nil
	default:
		return i, newSyntaxError(data, i, `Invalid \escape`)
	}
}

// hex4 reads the four hexadecimal digits at i.
func hex4(data []byte, i int) (r rune, ok bool) {
	if i+4 > len(data) {
		return 0, false
	}
	for _, c := range data[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// skipScalar passes over the null, boolean, number or string at i.
func skipScalar(data []byte, i int) (end int, err error) {
	if i < len(data) {
		switch data[i] {
		case '"':
			end, _, err = skipString(data, i)
			return end, err
		case 'n':
			end = skipWord(data, i, "null")
		case 't':
			end = skipWord(data, i, "true")
		case 'f':
			end = skipWord(data, i, "false")
		default:
			var float bool
			if end, float = skipNumber(data, i); !float && end-i > MaxIntDigits {
				if err := checkDigits(data, i, end); err != nil {
					return i, err
				}
			}
		}
	}
	if end == 0 {
		return i, noValue(data, i)
	}
	return end, nil
}

// noValue is the error for a text in which no value begins at i.
func noValue(data []byte, i int) error {
	if i == 0 && bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return newSyntaxError(data, i, "Unexpected UTF-8 BOM (decode using utf-8-sig)")
	}
	return newSyntaxError(data, i, "Expecting value")
}

// skipWord returns the index after word, or 0 if another text is at i.
func skipWord(data []byte, i int, word string) int {
	if len(data)-i >= len(word) && string(data[i:i+len(word)]) == word {
		return i + len(word)
	}
	return 0
}

// skipNumber returns the index after the number at i, or 0 if there is none,
// and whether Python makes a float of it rather than an int. As in Python,
// what cannot belong to the number is left: "01" is 0 and then a stray 1.
func skipNumber(data []byte, i int) (end int, float bool) {
	start := i
	if i < len(data) && data[i] == '-' {
		i++
	}
	switch {
	case i == len(data):
		return 0, false
	case data[i] == '0':
		i++
	case '1' <= data[i] && data[i] <= '9':
		i = skipDigits(data, i)
	case data[i] == 'I':
		return skipWord(data, i, "Infinity"), true
	case data[i] == 'N' && start == i:
		return skipWord(data, i, "NaN"), true
	default:
		return 0, false
	}
	if i < len(data) && data[i] == '.' {
		if j := skipDigits(data, i+1); j > i+1 {
			i, float = j, true
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		j := i + 1
		if j < len(data) && (data[j] == '+' || data[j] == '-') {
			j++
		}
		if k := skipDigits(data, j); k > j {
			i, float = k, true
		}
	}
	return i, float
}

func skipDigits(data []byte, i int) int {
	for i < len(data) && '0' <= data[i] && data[i] <= '9' {
		i++
	}
	return i
}
