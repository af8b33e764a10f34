package protocol

import (
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// texts collects the strings of one message, to let them share a single allocation
// that does not keep the message itself in memory.
type texts struct {
	to   [16]*string
	from [16][]byte
	n    int
}

func (x *texts) add(to *string, from []byte) {
	if len(from) == 0 {
		return
	}
	if x.n == len(x.to) {
		*to = string(from)
		return
	}
	x.to[x.n], x.from[x.n] = to, from
	x.n++
}

// store sets the strings added so far.
func (x *texts) store() {
	size := 0
	for _, text := range x.from[:x.n] {
		size += len(text)
	}
	var joined strings.Builder
	joined.Grow(size)
	for i, text := range x.from[:x.n] {
		start := joined.Len()
		joined.Write(text)
		*x.to[i] = joined.String()[start:]
	}
	x.n = 0
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
