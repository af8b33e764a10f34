package tasks

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

const maxLiteralDepth = 100

// scanner reads Python source text.
type scanner struct {
	src string
	pos int
}

// space skips blanks, newlines and comments.
func (s *scanner) space() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\t', '\r', '\n', '\f':
			s.pos++
		case '#':
			if i := strings.IndexByte(s.src[s.pos:], '\n'); i >= 0 {
				s.pos += i
			} else {
				s.pos = len(s.src)
			}
		default:
			return
		}
	}
}

func (s *scanner) end() bool {
	s.space()
	return s.pos == len(s.src)
}

// peek returns the next character that is not blank, 0 at the end.
func (s *scanner) peek() byte {
	if s.end() {
		return 0
	}
	return s.src[s.pos]
}

func (s *scanner) eat(token string) bool {
	s.space()
	if !strings.HasPrefix(s.src[s.pos:], token) {
		return false
	}
	s.pos += len(token)
	return true
}

// next names what comes next, for error messages.
func (s *scanner) next() string {
	if s.end() {
		return "the end"
	}
	rest := s.src[s.pos:]
	if len(rest) > 20 {
		rest = rest[:20] + "…"
	}
	return strconv.Quote(rest)
}

// literal appends the next Python literal to dst as JSON: tuples become arrays.
func (s *scanner) literal(dst []byte, depth int) ([]byte, error) {
	if depth > maxLiteralDepth {
		return nil, errors.New("nested too deeply")
	}
	switch c := s.peek(); {
	case c == '[':
		return s.sequence(dst, ']', depth)
	case c == '(':
		return s.sequence(dst, ')', depth)
	case c == '{':
		return s.dict(dst, depth)
	case c == '\'' || c == '"':
		return s.stringLiteral(dst, false)
	case (c == 'r' || c == 'R' || c == 'u' || c == 'U') && s.pos+1 < len(s.src) && strings.IndexByte(`'"`, s.src[s.pos+1]) >= 0:
		s.pos++
		return s.stringLiteral(dst, c == 'r' || c == 'R')
	case '0' <= c && c <= '9' || c == '.' || c == '-' || c == '+':
		return s.number(dst)
	}
	for word, json := range map[string]string{"None": "null", "True": "true", "False": "false"} {
		if s.word() == word {
			s.pos += len(word)
			return append(dst, json...), nil
		}
	}
	return nil, fmt.Errorf("only literals can be used, and %s is not one", s.next())
}

// word returns the run of name characters that comes next, without passing it.
func (s *scanner) word() string {
	end := s.pos
	for end < len(s.src) && (s.src[end] == '_' || s.src[end] >= 0x80 || isAlnum(s.src[end])) {
		end++
	}
	return s.src[s.pos:end]
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// sequence reads a list, a tuple, or a value in parentheses.
func (s *scanner) sequence(dst []byte, closing byte, depth int) ([]byte, error) {
	s.pos++
	start, n, comma := len(dst), 0, false
	dst = append(dst, '[')
	for s.peek() != closing {
		if n > 0 {
			if !s.eat(",") {
				return nil, fmt.Errorf("%s where a comma or %q was expected", s.next(), closing)
			}
			comma = true
			if s.peek() == closing {
				break
			}
		}
		var err error
		if dst, err = s.literal(pyjson.AppendComma(dst), depth+1); err != nil {
			return nil, err
		}
		n++
	}
	s.pos++
	if closing == ')' && n == 1 && !comma {
		return append(dst[:start], dst[start+1:]...), nil
	}
	return append(dst, ']'), nil
}

func (s *scanner) dict(dst []byte, depth int) ([]byte, error) {
	s.pos++
	dst = append(dst, '{')
	for n := 0; s.peek() != '}'; n++ {
		if n > 0 {
			if !s.eat(",") {
				return nil, fmt.Errorf("%s where a comma or '}' was expected", s.next())
			}
			if s.peek() == '}' {
				break
			}
		}
		if c := s.peek(); c != '\'' && c != '"' {
			return nil, fmt.Errorf("the keys of a dict must be strings, and %s is not one", s.next())
		}
		var err error
		if dst, err = s.stringLiteral(pyjson.AppendComma(dst), false); err != nil {
			return nil, err
		}
		if !s.eat(":") {
			return nil, fmt.Errorf("%s where a colon was expected", s.next())
		}
		dst = append(dst, ": "...)
		if dst, err = s.literal(dst, depth+1); err != nil {
			return nil, err
		}
	}
	s.pos++
	return append(dst, '}'), nil
}

// number reads an int or a float with its sign.
func (s *scanner) number(dst []byte) ([]byte, error) {
	start := s.pos
	sign := ""
	if c := s.src[s.pos]; c == '-' || c == '+' {
		s.pos++
		s.space()
		sign = string(c)
	}
	begin := s.pos
	hex := len(s.src) > begin+1 && s.src[begin] == '0' && s.src[begin+1]|0x20 == 'x'
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		exponentSign := (c == '-' || c == '+') && s.pos > begin && s.src[s.pos-1]|0x20 == 'e' && !hex
		if c != '_' && c != '.' && !isAlnum(c) && !exponentSign {
			break
		}
		s.pos++
	}
	text := s.src[begin:s.pos]
	if i, ok := parseInt(text); ok {
		if sign == "-" {
			i.Neg(i)
		}
		return pyjson.Append(dst, i)
	}
	if f, ok := parseFloat(text); ok {
		if sign == "-" {
			f = -f
		}
		return pyjson.Append(dst, f)
	}
	return nil, fmt.Errorf("%q is not a number", s.src[start:s.pos])
}

// parseInt knows 10, 1_000, 0x1f, 0o17 and 0b1, and refuses 017 as Python does.
func parseInt(text string) (*big.Int, bool) {
	if len(text) > 1 && text[0] == '0' && (text[1] == '_' || '0' <= text[1] && text[1] <= '9') {
		if strings.Trim(text, "0_") != "" || strings.HasSuffix(text, "_") || strings.Contains(text, "__") {
			return nil, false
		}
		return new(big.Int), true
	}
	return new(big.Int).SetString(text, 0)
}

// parseFloat knows 1.5, .5, 1., 1e5 and 1_0.5; without a point or an exponent it is no float.
func parseFloat(text string) (float64, bool) {
	if !strings.ContainsAny(text, ".eE") {
		return 0, false
	}
	digit := func(i int) bool { return i >= 0 && i < len(text) && '0' <= text[i] && text[i] <= '9' }
	for i := range len(text) {
		switch between := digit(i-1) && digit(i+1); {
		case digit(i), text[i] == '_' && between, strings.IndexByte(".eE+-", text[i]) >= 0:
		default: // no hexadecimal or named floats
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// stringLiteral reads a string in single or double quotes.
func (s *scanner) stringLiteral(dst []byte, raw bool) ([]byte, error) {
	start, quote := s.pos, s.src[s.pos]
	if strings.HasPrefix(s.src[s.pos:], strings.Repeat(string(quote), 3)) {
		return nil, errors.New("strings in triple quotes cannot be used")
	}
	dst = append(dst, '"')
	for s.pos++; s.pos < len(s.src) && s.src[s.pos] != '\n'; {
		switch c := s.src[s.pos]; {
		case c == quote:
			s.pos++
			return append(dst, '"'), nil
		case c == '\\' && s.pos+1 == len(s.src):
			s.pos++
		case c == '\\' && raw:
			dst = appendRune(dst, '\\')
			r, size := utf8.DecodeRuneInString(s.src[s.pos+1:])
			dst = appendRune(dst, r)
			s.pos += 1 + size
		case c == '\\':
			var err error
			if dst, err = s.escape(dst); err != nil {
				return nil, err
			}
		default:
			r, size := utf8.DecodeRuneInString(s.src[s.pos:])
			dst = appendRune(dst, r)
			s.pos += size
		}
	}
	return nil, fmt.Errorf("the string %s is not closed", s.src[start:s.pos])
}

var simpleEscapes = map[byte]rune{
	'\\': '\\', '\'': '\'', '"': '"', 'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
}

// escape reads what follows a backslash.
func (s *scanner) escape(dst []byte) ([]byte, error) {
	c := s.src[s.pos+1]
	if r, ok := simpleEscapes[c]; ok {
		s.pos += 2
		return appendRune(dst, r), nil
	}
	digits, base := 0, 16
	switch {
	case c == '\n':
		s.pos += 2
		return dst, nil
	case c == 'x':
		digits = 2
	case c == 'u':
		digits = 4
	case c == 'U':
		digits = 8
	case '0' <= c && c <= '7':
		base, s.pos = 8, s.pos-1
		for digits < 3 && s.pos+2+digits < len(s.src) && '0' <= s.src[s.pos+2+digits] && s.src[s.pos+2+digits] <= '7' {
			digits++
		}
	case c == 'N':
		return nil, errors.New(`\N{…} cannot be used`)
	default: // Python keeps a backslash it does not know
		s.pos++
		return appendRune(dst, '\\'), nil
	}
	s.pos += 2
	if s.pos+digits > len(s.src) {
		return nil, errors.New("an escape in a string is incomplete")
	}
	n, err := strconv.ParseUint(s.src[s.pos:s.pos+digits], base, 32)
	if err != nil || n > utf8.MaxRune {
		return nil, fmt.Errorf("a string has a bad escape with %q", s.src[s.pos:s.pos+digits])
	}
	s.pos += digits
	return appendRune(dst, rune(n)), nil
}

// appendRune appends a character of a JSON string; surrogates are written as escapes.
func appendRune(dst []byte, r rune) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r < 0x20 || 0xd800 <= r && r < 0xe000:
		return fmt.Appendf(dst, `\u%04x`, r)
	}
	return utf8.AppendRune(dst, r)
}
