package protocol

import (
	"bytes"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

const (
	reprLimit = 1024 // Celery's argsrepr_maxsize, kwargsrepr_maxsize and resultrepr_maxsize
	reprDepth = 3    // task_repr_maxlevels
)

// SafeRepr returns Python's text of a JSON value as Celery 5.7 puts it into logs,
// events and headers: cut after about 1024 characters and at the third level. The
// value must be valid JSON.
func SafeRepr(raw []byte) string {
	w := reprWriter{left: reprLimit}
	w.value(raw, 0, '[', ']')
	return string(w.dst)
}

// ArgsRepr is SafeRepr of an args array, written as the tuple that Celery passes.
func ArgsRepr(args []byte) string { return argsRepr(args, nil) }

func argsRepr(args []byte, inset *Inset) string {
	w := reprWriter{left: reprLimit, inset: inset}
	w.value(args, 0, '(', ')')
	return string(w.dst)
}

// KwargsRepr is SafeRepr of a kwargs object.
func KwargsRepr(kwargs []byte) string { return SafeRepr(kwargs) }

// reprWriter writes tokens as long as characters are left, like saferepr's reprstream.
type reprWriter struct {
	dst  []byte
	left int // characters, not bytes

	inset *Inset // its list is written in the place of its mark; nil: there is none
}

// emit appends a token. With nothing left it appends ", ..." instead and returns
// false: from there on only the containers that are open get closed.
func (w *reprWriter) emit(token string) bool {
	if !w.ready() {
		return false
	}
	w.dst = append(w.dst, token...)
	w.left -= utf8.RuneCountInString(token)
	return true
}

func (w *reprWriter) ready() bool {
	if w.left <= 0 {
		w.dst = append(w.dst, ", ..."...)
		return false
	}
	return true
}

// value writes one value; open and end are the brackets of an array.
func (w *reprWriter) value(raw []byte, depth int, open, end byte) bool {
	switch kind := pyjson.Kind(raw); kind {
	case '"':
		if w.inset != nil && bytes.Equal(raw, w.inset.mark) {
			return w.list(w.inset.Elements, depth)
		}
		text, _ := pyjson.Unquote(beginning(raw, w.left))
		return w.ready() && w.emit(quote(truncate(text, w.left)))
	case '[':
		return w.container(raw, depth, open, end)
	case '{':
		s := pyjson.NewScanner(raw)
		switch v, _ := s.KombuValue(); v := v.(type) {
		case nil:
		case []byte:
			return w.ready() && w.emit(w.bytes(v))
		default:
			return w.ready() && w.emit(truncate(valueRepr(v), w.left))
		}
		return w.container(raw, depth, '{', '}')
	default:
		return w.ready() && w.emit(truncate(scalarRepr(raw), w.left))
	}
}

func (w *reprWriter) container(raw []byte, depth int, open, end byte) bool {
	if depth >= reprDepth {
		return w.emit(string(open) + "..." + string(end))
	}
	if !w.emit(string(open)) {
		return false
	}
	s := pyjson.NewScanner(raw)
	s.Enter(pyjson.Kind(raw))
	n := 0
	complete := true
	for complete && s.Next() {
		complete = w.item(&s, n, open == '{', depth)
		n++
	}
	closing := string(end)
	if n == 1 && end == ')' && !s.Next() {
		closing = ",)"
	}
	w.dst = append(w.dst, closing...) // brackets are closed however little is left
	w.left -= len(closing)
	return complete
}

// list writes elements that are not joined.
func (w *reprWriter) list(elements [][]byte, depth int) bool {
	if depth >= reprDepth {
		return w.emit("[...]")
	}
	complete := w.emit("[")
	if !complete {
		return false
	}
	for i := 0; complete && i < len(elements); i++ {
		complete = (i == 0 || w.emit(", ")) && w.value(elements[i], depth+1, '[', ']')
	}
	w.dst = append(w.dst, ']')
	w.left--
	return complete
}

// item writes the member or element ahead, with the comma before it.
func (w *reprWriter) item(s *pyjson.Scanner, index int, member bool, depth int) bool {
	if index > 0 && !w.emit(", ") {
		return false
	}
	if member {
		if !w.ready() {
			return false
		}
		key := string(s.Key())
		if !w.emit(quote(truncate(key, w.left))) || !w.emit(": ") {
			return false
		}
	}
	return w.value(s.Value(), depth+1, '[', ']')
}

// bytes writes text as it is and anything else as hexadecimal digits.
func (w *reprWriter) bytes(data []byte) string {
	ellipsis := ""
	if len(data) > w.left {
		data, ellipsis = data[:w.left], "..."
	}
	if utf8.Valid(data) {
		return "b'" + string(data) + ellipsis + "'"
	}
	return "b'" + hex.EncodeToString(data) + ellipsis + "'"
}

func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `\'`) + "'"
}

// beginning is a JSON string that has more than so many characters of a longer one, and is not much longer.
func beginning(raw []byte, characters int) []byte {
	const most = len(`\uffff`)
	at := 1
	for left := 2*characters + 2; at+most < len(raw); left-- { // two escapes may be one character
		if left <= 0 {
			return append(raw[:at:at], '"')
		}
		switch {
		case raw[at] == '\\' && raw[at+1] == 'u':
			at += most
		case raw[at] == '\\':
			at += len(`\n`)
		default:
			_, size := utf8.DecodeRune(raw[at:])
			at += size
		}
	}
	return raw
}

// truncate cuts a text that does not stay below limit characters, there or at the last
// space before.
func truncate(text string, limit int) string {
	if len(text) < limit || utf8.RuneCountInString(text) < limit {
		return text
	}
	end := 0
	for range limit {
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
	}
	text = text[:end]
	if i := strings.LastIndexByte(text, ' '); i >= 0 {
		text = text[:i]
	}
	return text + "..."
}
