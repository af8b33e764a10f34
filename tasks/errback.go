package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// Failure is what an Errback task learns about the task that failed.
type Failure struct {
	Request   *Request            // of a task that failed elsewhere, only its ID is known
	Exception *protocol.Exception // nil if the record of the task cannot be read
	Traceback string
}

// Errback marks a task that is an error callback of Celery's new style, which is told the
// failed request, the exception and the traceback. Its function takes them as a Failure, after a
// context if it takes one:
//
//	reg.Register("shop.on_error", func(ctx context.Context, failed tasks.Failure) error { … }, tasks.Errback())
//
// Other parameters may follow, for arguments that the signature of the callback has: those of
// Params behind the first three, whatever these are called.
//
//	// Python: charge.apply_async(link_error=on_error.s("shop@example.com"))
//	reg.Register("shop.on_error", func(ctx context.Context, failed tasks.Failure, to string) (int, error) { … },
//		tasks.Errback(), tasks.Params("request, exc, traceback, to='root'"))
//
// As a link_error it is called by the worker that ran the failed task, at once and without a
// message, and what it returns is dropped. Where it comes as a message, from a worker that does
// not know it, the exception is read from the failed task's record. A link_error without this
// option is published with the failed task's id as its first argument.
//
// The task may also be called like any other, with a request (a text that is an id, or a dict), an
// exception (a text, or a dict as in records) and a traceback; Current(ctx).Failed is nil then.
func Errback() Option { return taskOption(func(o *Options) { o.Errback = true }) }

var failureType = reflect.TypeFor[Failure]()

// toldBy are the parameters that a Failure stands for.
const toldBy = 3

// errback runs a function of Errback's form. To the function that binds the arguments, the
// Failure is three of them.
type errback struct{ *function }

func newErrback(name string, fn any, params *string) (Handler, error) {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, fmt.Errorf("an Errback is a function that takes a tasks.Failure, not %T", fn)
	}
	t := v.Type()
	at := 0
	if t.NumIn() > 0 && t.In(0) == contextType {
		at = 1
	}
	if t.NumIn() <= at || t.In(at) != failureType {
		return nil, fmt.Errorf("an Errback takes a tasks.Failure, first or after a context, and %T does not", fn)
	}
	rest := make([]reflect.Type, 0, t.NumIn())
	for i := at + 1; i < t.NumIn(); i++ {
		rest = append(rest, t.In(i))
	}
	variadic := t.IsVariadic()
	var text string
	switch {
	case params != nil:
		text = *params
	case len(rest) == 0: // it takes what comes
		text = "request=None, exc=None, traceback=None, *args, **kwargs"
		rest = []reflect.Type{reflect.TypeFor[[]json.RawMessage](), reflect.TypeFor[map[string]json.RawMessage]()}
	default:
		return nil, errors.New("an Errback that takes more than a tasks.Failure needs Params: (request, exc, traceback, …)")
	}
	sig, err := parseSignature(text)
	if err != nil {
		return nil, fmt.Errorf("Params(%q): %w", text, err)
	}
	if sig.pos < toldBy {
		return nil, fmt.Errorf("Params(%q): the first three parameters of an Errback are the request, the exception and the traceback", text)
	}
	p, err := newFunction(name, told(v, at, params == nil, rest, variadic), sig)
	if err != nil {
		return nil, err
	}
	return errback{p}, nil
}

// told makes a function of fn that takes a context and JSON in the place of the Failure.
func told(fn reflect.Value, at int, alone bool, rest []reflect.Type, variadic bool) reflect.Value {
	raw := reflect.TypeFor[json.RawMessage]()
	in := append([]reflect.Type{contextType, raw, raw, raw}, rest...)
	out := make([]reflect.Type, fn.Type().NumOut())
	for i := range out {
		out[i] = fn.Type().Out(i)
	}
	return reflect.MakeFunc(reflect.FuncOf(in, out, variadic), func(args []reflect.Value) []reflect.Value {
		ctx, told, rest := args[0], args[1:1+toldBy], args[1+toldBy:]
		var failed Failure
		if known := Current(ctx.Interface().(context.Context)).Failed; known != nil {
			failed = *known
		} else {
			failed = failureOf(told[0].Bytes(), told[1].Bytes(), told[2].Bytes())
		}
		call := append(args[:0:0], ctx)[:at]
		call = append(call, reflect.ValueOf(failed))
		if !alone {
			call = append(call, rest...)
		}
		if variadic {
			return fn.CallSlice(call)
		}
		return fn.Call(call)
	})
}

// failureOf makes a Failure of what an ordinary call says.
func failureOf(request, exc, traceback []byte) Failure {
	failed := Failure{Request: &Request{Task: &protocol.Task{}}}
	if id, err := pyjson.Unquote(request); err == nil {
		failed.Request.ID = id
	} else {
		failed.Request.ID, _ = pyjson.Unquote(pyjson.Member(request, "id"))
		failed.Request.Name, _ = pyjson.Unquote(pyjson.Member(request, "task"))
	}
	switch pyjson.Kind(exc) {
	case '"':
		failed.Exception = &protocol.Exception{Module: "builtins", Type: "Exception", Message: slices.Concat([]byte{'['}, exc, []byte{']'})}
	case '{':
		failed.Exception, _ = protocol.DecodeException(exc) // nil: it is none
	}
	failed.Traceback, _ = pyjson.Unquote(traceback)
	return failed
}

// FailedID tells whether a call of an Errback task is one that a worker has published which did
// not know it: its first argument is then the id of the task that failed.
func (e *Entry) FailedID(req *Request) (id string, ok bool) {
	if !e.Options.Errback {
		return "", false
	}
	return failedID(req)
}

func failedID(req *Request) (id string, ok bool) {
	args := pyjson.Elements(req.Args)
	if len(args) == 0 {
		return "", false
	}
	id, err := pyjson.Unquote(args[0])
	return id, err == nil && (len(args) == 1 || id == req.ParentID)
}

// Handle binds and calls. What comes with the id of the failed task is bound as the call of a
// worker that knows the task.
func (h errback) Handle(ctx context.Context, req *Request) (any, error) {
	if _, ok := failedID(req); ok && req.Failed != nil {
		return h.handle(ctx, req, WithFailure(pyjson.Elements(req.Args)[1:]...))
	}
	return h.handle(ctx, req, req.Args)
}

// WithFailure makes the positional arguments of the call of an Errback task whose Request has the
// Failure: the first three stand for that, and others follow.
func WithFailure(args ...[]byte) []byte {
	list := []byte("[null, null, null")
	for _, arg := range args {
		list = append(pyjson.AppendComma(list), arg...)
	}
	return append(list, ']')
}
