package protocol

import (
	"strings"
	"unsafe"

	"github.com/apium/apium/protocol/pyjson"
)

// texts collects the strings of one message. Those of a small one are parts of it, as its headers are. Those of a large one
// share a single allocation, so that whoever keeps a task's id does not keep its arguments; what is there twice, such as that
// id, which most are the root and the correlation id of, too, is stored once.
type texts struct {
	parts bool // the message is small
	to    [16]*string
	from  [16][]byte
	first [16]int // of those that are equal
	n     int
	size  int
}

// smallMessage is up to how many bytes a message may be kept in memory for the sake of a text of it.
const smallMessage = 4 << 10

func (x *texts) add(to *string, from []byte) {
	switch {
	case len(from) == 0:
	case x.parts:
		*to = unsafe.String(&from[0], len(from)) // what was received never changes
	case x.n == len(x.to):
		*to = string(from)
	default:
		x.collect(to, from)
	}
}

func (x *texts) collect(to *string, from []byte) {
	first := 0
	for first < x.n && string(x.from[first]) != string(from) {
		first++
	}
	if first == x.n {
		x.size += len(from)
	}
	x.to[x.n], x.from[x.n], x.first[x.n] = to, from, first
	x.n++
}

// store sets the strings added so far.
func (x *texts) store() {
	var joined strings.Builder
	joined.Grow(x.size)
	for i, text := range x.from[:x.n] {
		if first := x.first[i]; first < i {
			*x.to[i] = *x.to[first]
			continue
		}
		start := joined.Len()
		joined.Write(text)
		*x.to[i] = joined.String()[start:]
	}
	x.n, x.size = 0, 0
}

// known returns the constant equal to text, to spare its allocation, or a copy.
func known(text []byte, constants ...string) string {
	for _, c := range constants {
		if string(text) == c {
			return c
		}
	}
	return string(text)
}

// appendText appends s as Python's json writes it, null for "".
func appendText(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return pyjson.AppendString(dst, s)
}

// appendRaw appends raw, or instead where raw is nil.
func appendRaw(dst, raw []byte, instead string) []byte {
	if raw == nil {
		return append(dst, instead...)
	}
	return append(dst, raw...)
}

// appendStrings appends a JSON array of strings.
func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for _, s := range list {
		dst = pyjson.AppendString(pyjson.AppendComma(dst), s)
	}
	return append(dst, ']')
}
