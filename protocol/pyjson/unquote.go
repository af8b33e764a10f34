package pyjson

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote returns what a JSON string says. White space around raw is allowed. A lone
// surrogate from U+DC80 to U+DCFF, with which Python stands for a byte that is no UTF-8
// (os.fsdecode; PEP 383), is that byte; [Append] writes such a byte so again. Other lone
// surrogates, and invalid UTF-8, become U+FFFD.
func Unquote(raw []byte) (string, error) {
	text, err := UnquoteBytes(raw)
	return string(text), err
}

// Text is what raw says if it is a JSON string, and otherwise "".
func Text(raw []byte) string {
	text, err := Unquote(raw)
	if err != nil {
		return ""
	}
	return text
}

// UnquoteBytes is [Unquote] without a copy where none is needed: if the string
// is ASCII without escapes, the result is a part of raw.
func UnquoteBytes(raw []byte) ([]byte, error) {
	s := NewScanner(raw)
	text, ok := s.Text()
	if err := s.End(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("expected a string, got %s", PythonType(raw))
	}
	return text, nil
}

// unescape returns what the text between two quotes says. The text has been
// checked by skipString.
func unescape(text []byte) []byte {
	dst := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\\' && text[i+1] == 'u':
			r, _ := hex4(text, i+2)
			i += 6
			if utf16.IsSurrogate(r) && i+1 < len(text) && text[i] == '\\' && text[i+1] == 'u' {
				low, _ := hex4(text, i+2)
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			dst = AppendRune(dst, r)
		case c == '\\':
			dst = append(dst, escaped[text[i+1]])
			i += 2
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, size := utf8.DecodeRune(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst
}

// AppendRune appends a character of a Python str, lone surrogates as [Unquote] has them.
func AppendRune(dst []byte, r rune) []byte {
	if escapedByte <= r && r <= escapedByte|0x7f {
		return append(dst, byte(r))
	}
	return utf8.AppendRune(dst, r)
}

// DecodeRune returns the first character of a Go text as it is in a Python str, where a
// byte that is no UTF-8 is a lone surrogate, and how many bytes it takes.
func DecodeRune[T string | []byte](text T) (r rune, size int) {
	r, size = utf8.DecodeRuneInString(string(text[:min(len(text), utf8.UTFMax)]))
	if r == utf8.RuneError && size == 1 {
		r = escapedByte&^0xff | rune(text[0])
	}
	return r, size
}

// escapedByte stands for the byte 0x80 in PEP 383.
const escapedByte = 0xdc80

// escaped maps the character behind a backslash to what it stands for.
var escaped = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// PythonType names the Python type that json.loads makes of raw.
func PythonType(raw []byte) string {
	switch Kind(raw) {
	case 'n':
		return "NoneType"
	case 't', 'f':
		return "bool"
	case '"':
		return "str"
	case '[':
		return "list"
	case '{':
		return "dict"
	case '0':
		if _, float := skipNumber(raw, skipSpace(raw, 0)); float {
			return "float"
		}
		return "int"
	default:
		return "no JSON"
	}
}
