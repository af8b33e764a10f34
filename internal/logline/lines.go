package logline

import (
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

// LinesKey is the attribute of a message that has several lines, as some of Celery's have. In
// all others a line's end comes from a task's name, an id or an error, and handlers of text must
// escape it: it would forge a line.
const LinesKey = "lines"

// Lines is the attribute of that key. What the message takes from outside is to be escaped by
// whoever makes it.
func Lines() slog.Attr { return slog.Bool(LinesKey, true) }

// Escape writes control characters, line ends among them, as Python's repr does.
func Escape(s string) string {
	if !mayHaveControl(s) {
		return s
	}
	return string(AppendEscaped(nil, s, false))
}

// AppendEscaped appends s with its control characters escaped, but for tabs and, if lines, the
// ends of lines.
func AppendEscaped(dst []byte, s string, lines bool) []byte {
	for {
		i := -1
		if mayHaveControl(s) {
			i = strings.IndexFunc(s, isControl)
		}
		if i < 0 {
			return append(dst, s...)
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		dst = append(dst, s[:i]...)
		s = s[i+size:]
		switch {
		case r == '\n' && lines:
			dst = append(dst, '\n')
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r > 0xff:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = fmt.Appendf(dst, `\x%02x`, r)
		}
	}
}

// mayHaveControl looks at bytes alone, which nearly every line passes.
func mayHaveControl(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f || c == 0xc2 || c == 0xe2 {
			return true
		}
	}
	return false
}

// isControl finds what ends a line somewhere, or moves a terminal's cursor.
func isControl(r rune) bool {
	return unicode.IsControl(r) && r != '\t' || r == '\u2028' || r == '\u2029'
}
