package tasks

import (
	"fmt"
	"reflect"
	"strconv"
	"sync"

	"github.com/apium/apium/protocol/pyjson"
)

// function is the Handler of a plain function. What depends on its type alone is
// worked out when it is registered; a call only decodes and calls.
type function struct {
	task     string
	fn       reflect.Value
	context  bool // the first parameter is a context
	variadic bool
	keeps    bool           // the function gets a pointer into the frame
	inputs   []reflect.Type // the parameters after it
	output   int            // which output is the result, -1: none
	failure  int            // which output is the error, -1: none

	sig     *signature
	named   []slot // where each name of the signature goes
	varArgs slot   // where *args goes
	varKw   slot   // where **kwargs goes

	frames sync.Pool // of *frame
}

// slot is a place for an argument: an input, or a field of an input that is a struct.
type slot struct {
	input int
	field []int
}

func newFunction(task string, fn reflect.Value, sig *signature) (*function, error) {
	p := &function{task: task, fn: fn, sig: sig}
	t := fn.Type()
	p.variadic = t.IsVariadic()
	for i := range t.NumIn() {
		p.inputs = append(p.inputs, t.In(i))
	}
	if len(p.inputs) > 0 && p.inputs[0] == contextType {
		p.context, p.inputs = true, p.inputs[1:]
	}
	for i, in := range p.inputs {
		if reason := unbindable(in); reason != "" {
			return nil, fmt.Errorf("parameter %d, %s, cannot take a value from a message: %s", i+1, in, reason)
		}
	}
	if err := p.setOutputs(t); err != nil {
		return nil, err
	}
	var err error
	switch {
	case sig != nil:
		err = p.layOut()
	case len(p.inputs) == 1 && !p.variadic && isArguments(p.inputs[0]):
		err = p.layOutStruct()
	default:
		p.layOutUnnamed()
	}
	if err != nil {
		return nil, err
	}
	p.frames.New = func() any { return p.newFrame() }
	return p, p.checkDefaults()
}

func (p *function) setOutputs(t reflect.Type) error {
	p.output, p.failure = -1, -1
	n := t.NumOut()
	if n > 0 && t.Out(n-1) == errorType {
		n--
		p.failure = n
	}
	if n > 1 {
		return fmt.Errorf("a task returns at most a result and an error, and %s returns more", t)
	}
	p.output = n - 1
	return nil
}

// layOut matches the parameters of Python with those of Go, in order.
func (p *function) layOut() error {
	s := p.sig
	want := len(s.names)
	if s.varArgs != "" {
		want++
	}
	if s.varKw != "" {
		want++
	}
	switch {
	case want != len(p.inputs):
		return fmt.Errorf("Params names %d parameters, and %s takes %d", want, p.fn.Type(), len(p.inputs))
	case p.variadic && s.varArgs == "":
		return fmt.Errorf("%s is variadic, and Params has no *args", p.fn.Type())
	}
	next := 0
	take := func() slot { next++; return slot{input: next - 1} }
	for i := range s.names {
		if i == s.pos && s.varArgs != "" && !p.variadic {
			p.varArgs = take()
		}
		p.named = append(p.named, take())
	}
	if len(s.names) == s.pos && s.varArgs != "" && !p.variadic {
		p.varArgs = take()
	}
	if s.varKw != "" {
		p.varKw = take()
	}
	if p.variadic {
		p.varArgs = take()
	}
	return p.checkCollectors()
}

// layOutUnnamed makes up a signature for a function without Params.
func (p *function) layOutUnnamed() {
	p.sig = &signature{unnamed: true, pos: len(p.inputs)}
	if p.variadic {
		p.sig.pos--
		p.sig.varArgs = "args"
		p.varArgs = slot{input: p.sig.pos}
	}
	for i := range p.sig.pos {
		p.sig.names = append(p.sig.names, strconv.Itoa(i+1))
		p.named = append(p.named, slot{input: i})
	}
	p.sig.defaults = make([][]byte, p.sig.pos)
}

func (p *function) checkCollectors() error {
	if t := p.typeOf(p.varArgs); p.sig.varArgs != "" && t.Kind() != reflect.Slice {
		return fmt.Errorf("*%s needs a slice, not %s", p.sig.varArgs, t)
	}
	if t := p.typeOf(p.varKw); p.sig.varKw != "" && (t.Kind() != reflect.Map || t.Key().Kind() != reflect.String) {
		return fmt.Errorf("**%s needs a map with string keys, not %s", p.sig.varKw, t)
	}
	return nil
}

func (p *function) typeOf(s slot) reflect.Type {
	if s.input >= len(p.inputs) {
		return nil
	}
	t := p.inputs[s.input]
	if s.field == nil {
		return t
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.FieldByIndex(s.field).Type
}

// checkDefaults reports a default that its parameter's type cannot hold.
func (p *function) checkDefaults() error {
	for i, raw := range p.sig.defaults {
		if raw == nil {
			continue
		}
		t := p.typeOf(p.named[i])
		if err := pyjson.UnmarshalValue(raw, reflect.New(t).Elem()); err != nil {
			hint := ""
			if pyjson.Kind(raw) == 'n' {
				hint = "; make it a pointer"
			}
			return fmt.Errorf("the default of %s does not fit %s%s: %w", p.sig.names[i], t, hint, err)
		}
	}
	return nil
}
