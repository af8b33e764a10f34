package protocol

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

// Repr writes a JSON value as Python's repr, in full.
func Repr(raw []byte) string { return string(appendRepr(nil, raw)) }

// ReprText is Python's repr of a str.
func ReprText(text string) string { return Repr(appendString(nil, text)) }

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
	switch pyjson.Kind(raw) {
	case '"':
		text, _ := pyjson.UnquoteBytes(raw)
		return appendQuoted(dst, text)
	case '[':
		s := pyjson.NewScanner(raw)
		s.Enter('[')
		open := byte('[')
		for s.Next() {
			dst = appendItem(dst, &open)
			dst = appendRepr(dst, s.Value())
		}
		return closeItems(dst, open, '[', ']')
	case '{':
		if text, ok := markerRepr(raw); ok {
			return append(dst, text...)
		}
		s := pyjson.NewScanner(raw)
		s.Enter('{')
		open := byte('{')
		for s.Next() {
			dst = appendItem(dst, &open)
			dst = append(appendQuoted(dst, s.Key()), ": "...)
			dst = appendRepr(dst, s.Value())
		}
		return closeItems(dst, open, '{', '}')
	default:
		return append(dst, scalarRepr(raw)...)
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
			dst = appendItem(dst, &open)
			dst = appendRepr(dst, s.Value())
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
		r, size := utf8.DecodeRune(text)
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

// marker reads an object of exactly the two members __type__ and __value__, which
// kombu turns into a Python value.
func marker(raw []byte) (kind string, value []byte, ok bool) {
	s := pyjson.NewScanner(raw)
	if !bytes.Contains(raw, []byte(`"__type__"`)) || !s.Enter('{') {
		return "", nil, false
	}
	members := 0
	for s.Next() {
		members++
		switch string(s.Key()) {
		case "__type__":
			kind = string(scalarText(&s))
		case "__value__":
			value = s.Value()
		default:
			return "", nil, false
		}
	}
	return kind, value, members == 2 && kind != "" && value != nil
}

// markerBytes returns the value of a bytes or base64 marker.
func markerBytes(kind string, value []byte) ([]byte, bool) {
	text, err := pyjson.UnquoteBytes(value)
	switch {
	case err != nil:
		return nil, false
	case kind == "bytes":
		return text, true
	case kind == "base64":
		data, err := base64.StdEncoding.DecodeString(string(text))
		return data, err == nil
	default:
		return nil, false
	}
}

// markerRepr returns the repr of the Python value an object stands for. It returns
// false for objects that are just that.
func markerRepr(raw []byte) (string, bool) {
	kind, value, ok := marker(raw)
	if !ok {
		return "", false
	}
	if data, ok := markerBytes(kind, value); ok {
		return bytesRepr(data), true
	}
	if kind == "uuid" {
		var u struct{ Hex string }
		if pyjson.Unmarshal(value, &u) == nil && len(u.Hex) == 32 {
			h := u.Hex
			return fmt.Sprintf("UUID('%s-%s-%s-%s-%s')", h[:8], h[8:12], h[12:16], h[16:20], h[20:]), true
		}
		return "", false
	}
	text, err := pyjson.Unquote(value)
	if err != nil {
		return "", false
	}
	switch kind {
	case "decimal":
		return "Decimal('" + text + "')", true
	case "datetime", "date":
		if t, err := ParseTime(text, time.UTC); err == nil {
			return datetimeRepr(t, text, kind == "date"), true
		}
	case "time":
		if t, err := ParseTime("2000-01-01T"+text, time.UTC); err == nil {
			return "datetime.time(" + clockRepr(t) + zoneRepr(t, text) + ")", true
		}
	}
	return "", false
}

func datetimeRepr(t time.Time, text string, dateOnly bool) string {
	day := fmt.Sprintf("(%d, %d, %d", t.Year(), t.Month(), t.Day())
	if dateOnly {
		return "datetime.date" + day + ")"
	}
	return "datetime.datetime" + day + ", " + clockRepr(t) + zoneRepr(t, text[min(len(text), 10):]) + ")"
}

// clockRepr leaves out seconds and microseconds that are zero.
func clockRepr(t time.Time) string {
	text := fmt.Sprintf("%d, %d", t.Hour(), t.Minute())
	micro := t.Nanosecond() / 1000
	if t.Second() != 0 || micro != 0 {
		text += fmt.Sprintf(", %d", t.Second())
	}
	if micro != 0 {
		text += fmt.Sprintf(", %d", micro)
	}
	return text
}

// zoneRepr returns the tzinfo argument, "" if the text of the time has no offset.
func zoneRepr(t time.Time, text string) string {
	if !strings.ContainsAny(text, "Zz+-") {
		return ""
	}
	_, offset := t.Zone()
	if offset == 0 {
		return ", tzinfo=datetime.timezone.utc"
	}
	delta := fmt.Sprintf("seconds=%d", offset)
	if offset < 0 { // timedelta keeps its seconds positive
		delta = fmt.Sprintf("days=-1, seconds=%d", offset+24*60*60)
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
