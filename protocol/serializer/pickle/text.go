package pickle

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

// str8 is a str of Python 2, which may be text or bytes.
type str8 []byte

// Plain takes it for text where it can be text.
func (s str8) Plain() (any, error) {
	if utf8.Valid(s) {
		return string(s), nil
	}
	return []byte(s), nil
}

// stepText carries out opcodes that make text and bytes.
func (r *reader) stepText(op byte) error {
	switch op {
	case opShortBinUnicode:
		return r.pushUnicode(1)
	case opBinUnicode:
		return r.pushUnicode(4)
	case opBinUnicode8:
		return r.pushUnicode(8)
	case opShortBinBytes:
		return r.pushBytes(1)
	case opBinBytes:
		return r.pushBytes(4)
	case opBinBytes8, opByteArray8:
		return r.pushBytes(8)
	case opShortBinString, opBinString:
		size := uint64(1)
		if op == opBinString {
			size = 4
		}
		b, err := r.counted(size)
		return r.push(str8(b), err)
	case opString:
		line, err := r.line()
		if err != nil {
			return err
		}
		return r.push(quoted(line))
	case opUnicode:
		line, err := r.line()
		if err != nil {
			return err
		}
		return r.push(rawUnicode(line), nil)
	}
	return r.stepContainer(op)
}

func (r *reader) pushUnicode(size uint64) error {
	b, err := r.counted(size)
	if err != nil {
		return err
	}
	return r.push(unicode(b))
}

func (r *reader) pushBytes(size uint64) error {
	b, err := r.counted(size)
	return r.push(b, err)
}

// unicode reads UTF-8. Python encodes lone surrogates too: see pyjson.Unquote for what
// becomes of them.
func unicode(b []byte) (any, error) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	var text []byte
	for len(b) > 0 {
		c, size := utf8.DecodeRune(b)
		if c == utf8.RuneError && size == 1 {
			if len(b) < 3 || b[0] != 0xed || b[1]&0xe0 != 0xa0 || b[2]&0xc0 != 0x80 {
				return nil, failf("text that is not UTF-8")
			}
			c, size = 0xd000|rune(b[1]&0x3f)<<6|rune(b[2]&0x3f), 3
		}
		text = pyjson.AppendRune(text, c)
		b = b[size:]
	}
	return string(text), nil
}

// quoted reads the str literal of protocol 0.
func quoted(line string) (any, error) {
	n := len(line)
	if n < 2 || line[0] != line[n-1] || line[0] != '\'' && line[0] != '"' {
		return nil, failf("bad string literal")
	}
	line = line[1 : n-1]
	out := make(str8, 0, len(line))
	for i := 0; i < len(line); i++ {
		if line[i] != '\\' {
			out = append(out, line[i])
			continue
		}
		i++
		if i == len(line) {
			return nil, failf("bad string literal")
		}
		c := line[i]
		if at := strings.IndexByte(`\'"abfnrtv`, c); at >= 0 {
			out = append(out, "\\'\"\a\b\f\n\r\t\v"[at])
			continue
		}
		digits, base := 0, 8
		if c == 'x' {
			i++
			digits, base = 2, 16
		} else {
			for digits < 3 && i+digits < len(line) && '0' <= line[i+digits] && line[i+digits] <= '7' {
				digits++
			}
		}
		code, err := strconv.ParseUint(line[min(i, len(line)):min(i+digits, len(line))], base, 16)
		if err != nil {
			return nil, failf("bad escape in a string literal")
		}
		out = append(out, byte(code))
		i += digits - 1
	}
	return out, nil
}

// rawUnicode reads protocol 0's raw-unicode-escape: Latin-1, \uXXXX and \UXXXXXXXX.
func rawUnicode(line string) string {
	var text []byte
	for i := 0; i < len(line); i++ {
		digits := 0
		if line[i] == '\\' && i+1 < len(line) {
			switch line[i+1] {
			case 'u':
				digits = 4
			case 'U':
				digits = 8
			}
		}
		if end := i + 2 + digits; digits > 0 && end <= len(line) {
			if code, err := strconv.ParseUint(line[i+2:end], 16, 32); err == nil {
				text = pyjson.AppendRune(text, rune(code)) //nolint:gosec // what is no character becomes U+FFFD
				i = end - 1
				continue
			}
		}
		text = utf8.AppendRune(text, rune(line[i]))
	}
	return string(text)
}
