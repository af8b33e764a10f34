package protocol

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/apium/apium/protocol/pyjson"
)

// Repr writes a JSON value as Python's repr, in full.
func Repr(raw []byte) string { return string(appendRepr(nil, raw)) }

// ReprText is Python's repr of a str.
func ReprText(text string) string { return string(appendQuoted(nil, []byte(text))) }

// ReprTuple writes a JSON array as Python's repr of a tuple, in full.
func ReprTuple(raw []byte) string {
	text := appendTuple(nil, raw)
	n := 0
	for s := pyjson.NewScanner(raw); n < 2 && (n > 0 || s.Enter('[')) && s.Next(); n++ {
	}
	if n == 1 {
		text = append(text[:len(text)-1], ",)"...)
	}
	return string(text)
}

// appendRepr appends Python's repr of a JSON value, without a limit.
func appendRepr(dst, raw []byte) []byte {
	s := pyjson.NewScanner(raw)
	return appendAhead(dst, &s)
}

// appendAhead appends the repr of the value ahead of s.
func appendAhead(dst []byte, s *pyjson.Scanner) []byte {
	switch s.Kind() {
	case '"':
		text, _ := s.Text()
		return appendQuoted(dst, text)
	case '[':
		s.Enter('[')
		open := byte('[')
		for s.Next() {
			dst = appendAhead(appendItem(dst, &open), s)
		}
		return closeItems(dst, open, '[', ']')
	case '{':
		if v, _ := s.KombuValue(); v != nil {
			return append(dst, valueRepr(v)...)
		}
		s.Enter('{')
		open := byte('{')
		for s.Next() {
			dst = append(appendQuoted(appendItem(dst, &open), s.Key()), ": "...)
			dst = appendAhead(dst, s)
		}
		return closeItems(dst, open, '{', '}')
	default:
		return append(dst, scalarRepr(s.Value())...)
	}
}

// appendItem appends what stands before an item: the bracket or a comma.
func appendItem(dst []byte, open *byte) []byte {
	if *open != 0 {
		dst = append(dst, *open)
		*open = 0
		return dst
	}
	return append(dst, ", "...)
}

func closeItems(dst []byte, open, first, last byte) []byte {
	if open != 0 {
		dst = append(dst, first)
	}
	return append(dst, last)
}

// appendTuple appends the repr of an array as a tuple, without the comma that Python
// puts after a single item: the arguments of an exception.
func appendTuple(dst, array []byte) []byte {
	s := pyjson.NewScanner(array)
	open := byte('(')
	if s.Enter('[') {
		for s.Next() {
			dst = appendAhead(appendItem(dst, &open), &s)
		}
	}
	return closeItems(dst, open, '(', ')')
}

// scalarRepr returns the repr of null, a boolean or a number.
func scalarRepr(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	switch pyjson.Kind(raw) {
	case 'n':
		return "None"
	case 't':
		return "True"
	case 'f':
		return "False"
	}
	if !bytes.ContainsAny(raw, ".eENI") {
		if string(raw) == "-0" {
			return "0"
		}
		return string(raw)
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && f == 0 {
		return string(raw)
	}
	text, err := pyjson.Append(nil, f)
	if err != nil {
		return string(raw)
	}
	return strings.ToLower(strings.Replace(string(text), "Infinity", "inf", 1))
}

// appendQuoted appends the repr of a str.
func appendQuoted(dst, text []byte) []byte {
	quote := byte('\'')
	if bytes.IndexByte(text, '\'') >= 0 && bytes.IndexByte(text, '"') < 0 {
		quote = '"'
	}
	dst = append(dst, quote)
	for len(text) > 0 {
		r, size := pyjson.DecodeRune(text)
		switch {
		case r == '\\' || r == rune(quote):
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case unicode.IsPrint(r):
			dst = append(dst, text[:size]...)
		case r < 0x100:
			dst = fmt.Appendf(dst, `\x%02x`, r)
		case r < 0x10000:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = fmt.Appendf(dst, `\U%08x`, r)
		}
		text = text[size:]
	}
	return append(dst, quote)
}

// valueRepr returns the repr of the Python value that a __type__ object stands for.
func valueRepr(v any) string {
	switch v := v.(type) {
	case []byte:
		return bytesRepr(v)
	case pyjson.UUID:
		return "UUID('" + v.String() + "')"
	case pyjson.Decimal:
		return "Decimal('" + string(v) + "')"
	case pyjson.Date:
		return fmt.Sprintf("datetime.date(%d, %d, %d)", v.Year, v.Month, v.Day)
	case pyjson.Clock:
		return "datetime.time(" + clockRepr(v) + zoneRepr(v.Zone) + ")"
	case time.Time:
		clock := pyjson.Clock{Hour: v.Hour(), Minute: v.Minute(), Second: v.Second(), Microsecond: v.Nanosecond() / 1000}
		if v.Location() != pyjson.Naive {
			clock.Zone = v.Format("-07:00:00")
		}
		return fmt.Sprintf("datetime.datetime(%d, %d, %d, %s)", v.Year(), v.Month(), v.Day(), clockRepr(clock)+zoneRepr(clock.Zone))
	default:
		return fmt.Sprint(v)
	}
}

// clockRepr leaves out seconds and microseconds that are zero.
func clockRepr(c pyjson.Clock) string {
	text := fmt.Sprintf("%d, %d", c.Hour, c.Minute)
	if c.Second != 0 || c.Microsecond != 0 {
		text += fmt.Sprintf(", %d", c.Second)
	}
	if c.Microsecond != 0 {
		text += fmt.Sprintf(", %d", c.Microsecond)
	}
	return text
}

// zoneRepr returns the tzinfo argument for a UTC offset such as -02:30, "" for none.
func zoneRepr(offset string) string {
	if offset == "" {
		return ""
	}
	var hours, minutes, seconds int
	_, _ = fmt.Sscanf(offset[1:], "%d:%d:%d", &hours, &minutes, &seconds) // seconds may be missing
	seconds += hours*3600 + minutes*60
	delta := fmt.Sprintf("seconds=%d", seconds)
	switch {
	case seconds == 0:
		return ", tzinfo=datetime.timezone.utc"
	case offset[0] == '-': // timedelta keeps its seconds positive
		delta = fmt.Sprintf("days=-1, seconds=%d", 24*60*60-seconds)
	}
	return ", tzinfo=datetime.timezone(datetime.timedelta(" + delta + "))"
}

// bytesRepr returns the repr of bytes.
func bytesRepr(data []byte) string {
	quote := byte('\'')
	if bytes.IndexByte(data, '\'') >= 0 && bytes.IndexByte(data, '"') < 0 {
		quote = '"'
	}
	dst := []byte{'b', quote}
	for _, c := range data {
		switch {
		case c == '\\' || c == quote:
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case ' ' <= c && c <= '~':
			dst = append(dst, c)
		default:
			dst = fmt.Appendf(dst, `\x%02x`, c)
		}
	}
	return string(append(dst, quote))
}
