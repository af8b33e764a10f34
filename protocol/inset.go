package protocol

import (
	"bytes"

	"github.com/apium/apium/protocol/pyjson"
)

// Inset is a JSON list that is written into the body of a task only when its message is made, so that there is no
// other copy of it: what it consists of, such as the results of a chord's header, may be large. In the arguments,
// or wherever in the body it belongs, its Mark stands for it. It must not change.
type Inset struct {
	Elements [][]byte // raw JSON
	mark     []byte
}

// NewInset makes an inset of a list's elements, which are raw JSON.
func NewInset(elements [][]byte) *Inset {
	return &Inset{Elements: elements, mark: pyjson.AppendString(nil, NewID())}
}

// Mark is the JSON text that stands for the inset.
func (in *Inset) Mark() []byte { return in.mark }

// size is how many bytes the list has.
func (in *Inset) size() int {
	n := len("[]")
	for _, element := range in.Elements {
		n += len(element) + len(", ")
	}
	return n
}

// fill returns a text with the list in the place of the mark, in a copy of just the size. A nil inset has no mark.
func (in *Inset) fill(text []byte) []byte {
	if in == nil {
		return text
	}
	times := bytes.Count(text, in.mark)
	if times == 0 {
		return text
	}
	filled := make([]byte, 0, len(text)+times*in.size())
	for {
		before, after, found := bytes.Cut(text, in.mark)
		filled = append(filled, before...)
		if !found {
			return filled
		}
		filled, text = pyjson.AppendArray(filled, in.Elements), after
	}
}

// FillIn writes the inset into the task, for who reads or changes its fields.
func (t *Task) FillIn() {
	if t.Inset == nil {
		return
	}
	next := &t.Embed
	for _, field := range []*[]byte{&t.Args, &t.Kwargs, &next.Callbacks, &next.Errbacks, &next.Chain, &next.Chord} {
		*field = t.Inset.fill(*field)
	}
	t.Inset = nil
}
