package tasks

import (
	"context"
	"reflect"
	"strconv"

	"github.com/apium/apium/protocol/pyjson"
)

// frame is the storage of one call.
type frame struct {
	bound
	in      []reflect.Value // what the function is called with
	named   []reflect.Value // settable, one per name of the signature
	varArgs reflect.Value
	varKw   reflect.Value
}

func (p *function) newFrame() *frame {
	f := &frame{named: make([]reflect.Value, len(p.named))}
	if p.context {
		f.in = append(f.in, reflect.Value{})
	}
	args := len(f.in)
	for _, t := range p.inputs {
		f.in = append(f.in, reflect.New(t).Elem())
	}
	at := func(s slot) reflect.Value {
		v := f.in[args+s.input]
		if s.field == nil {
			return v
		}
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		return v.FieldByIndex(s.field)
	}
	for i, s := range p.named {
		f.named[i] = at(s)
	}
	if p.sig.varArgs != "" {
		f.varArgs = at(p.varArgs)
	}
	if p.sig.varKw != "" {
		f.varKw = at(p.varKw)
	}
	return f
}

// Handle binds the arguments of a request and calls the function with them.
func (p *function) Handle(ctx context.Context, req *Request) (any, error) {
	return p.handle(ctx, req, req.Args)
}

// handle is Handle with other positional arguments than the request's.
func (p *function) handle(ctx context.Context, req *Request, args []byte) (any, error) {
	f := p.frames.Get().(*frame)
	if err := p.fill(f, args, req.Kwargs); err != nil {
		return nil, err
	}
	if p.context {
		f.in[0] = reflect.ValueOf(NewContext(ctx, req))
	}
	var out []reflect.Value
	if p.variadic {
		out = p.fn.CallSlice(f.in)
	} else {
		out = p.fn.Call(f.in)
	}
	p.release(f)
	if p.failure >= 0 && !out[p.failure].IsNil() {
		return nil, out[p.failure].Interface().(error)
	}
	if p.output < 0 {
		return nil, nil
	}
	return out[p.output].Interface(), nil
}

// release empties a frame for the next call. A function that gets a pointer to its
// arguments may keep it, so that its frame cannot be used again.
func (p *function) release(f *frame) {
	if p.keeps {
		return
	}
	if p.context {
		f.in[0] = reflect.Value{}
	}
	for _, v := range f.in[len(f.in)-len(p.inputs):] {
		v.SetZero()
	}
	p.frames.Put(f)
}

// fill decodes the arguments of a call into the frame.
func (p *function) fill(f *frame, args, kwargs []byte) error {
	if err := p.sig.bind(&f.bound, p.task, args, kwargs); err != nil {
		return err
	}
	for i, raw := range f.slots {
		if err := pyjson.UnmarshalValue(raw, f.named[i]); err != nil {
			return badArgument(p.task, p.sig.names[i], err)
		}
	}
	if p.sig.varArgs != "" {
		list := reflect.MakeSlice(f.varArgs.Type(), len(f.rest), len(f.rest))
		for i, raw := range f.rest {
			if err := pyjson.UnmarshalValue(raw, list.Index(i)); err != nil {
				return badArgument(p.task, strconv.Itoa(p.sig.pos+i+1), err)
			}
		}
		f.varArgs.Set(list)
	}
	if p.sig.varKw != "" {
		t := f.varKw.Type()
		m := reflect.MakeMapWithSize(t, len(f.extra))
		for _, kw := range f.extra {
			v := reflect.New(t.Elem()).Elem()
			if err := pyjson.UnmarshalValue(kw.raw, v); err != nil {
				return badArgument(p.task, kw.name, err)
			}
			m.SetMapIndex(reflect.ValueOf(kw.name).Convert(t.Key()), v)
		}
		f.varKw.Set(m)
	}
	return nil
}
