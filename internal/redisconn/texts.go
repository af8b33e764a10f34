package redisconn

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
)

// Texts are arguments of a command that are gathered in the form in which they are sent. Where a script takes hundreds of
// short ones, none of them costs memory of its own. Only a Pipeline takes them.
type Texts struct {
	n    int
	wire []byte
}

// spareTexts has what Free was called for.
var spareTexts sync.Pool

// NewTexts returns none, with room for so many that have so many bytes together.
func NewTexts(n, size int) *Texts {
	const around = len("$65535\r\n\r\n")
	t, ok := spareTexts.Get().(*Texts)
	if !ok {
		t = &Texts{}
	}
	t.wire = slices.Grow(t.wire, n*around+size)
	return t
}

// Free has the memory of texts used again, after a command with them has succeeded: an error may name them. What is
// large is not copied when it is sent, and left alone.
func (t *Texts) Free() {
	if cap(t.wire) < LargeText {
		t.n, t.wire = 0, t.wire[:0]
		spareTexts.Put(t)
	}
}

// Add adds one argument, in two parts.
func (t *Texts) Add(prefix, text string) {
	t.begin(len(prefix) + len(text))
	t.wire = append(append(append(t.wire, prefix...), text...), "\r\n"...)
}

// AppendText appends an argument to others. One that is not large is added to the Texts that these end with, if they do.
func AppendText(args []any, text []byte) []any {
	if len(text) >= LargeText {
		return append(args, text)
	}
	last, ok := (*Texts)(nil), false
	if len(args) > 0 {
		last, ok = args[len(args)-1].(*Texts)
	}
	if !ok {
		last = &Texts{}
		args = append(args, last)
	}
	last.begin(len(text))
	last.wire = append(append(last.wire, text...), "\r\n"...)
	return args
}

// begin adds what comes before the bytes of an argument.
func (t *Texts) begin(size int) {
	t.n++
	t.wire = appendHead(t.wire, '$', size)
}

// each are the arguments one by one.
func (t *Texts) each() (texts []any) {
	for rest := t.wire; len(rest) > 0; {
		head, after, _ := bytes.Cut(rest, []byte("\r\n"))
		size, _ := strconv.Atoi(string(head[1:])) // what add has written
		texts = append(texts, string(after[:size]))
		rest = after[size+len("\r\n"):]
	}
	return texts
}

// count is how many arguments a server gets.
func count(args []any) int {
	n := len(args)
	for _, arg := range args {
		if texts, ok := arg.(*Texts); ok {
			n += texts.n - 1
		}
	}
	return n
}

// spread are arguments as a server gets them.
func spread(args []any) (all []any) {
	for _, arg := range args {
		if texts, ok := arg.(*Texts); ok {
			all = append(all, texts.each()...)
		} else {
			all = append(all, arg)
		}
	}
	return all
}
