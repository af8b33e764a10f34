package tasks

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// newHandler makes a Handler of whatever Register accepts.
func newHandler(name string, fn any, opts *Options) (Handler, error) {
	if r, ok := fn.(remote); ok {
		return r, nil
	}
	if opts.Errback {
		return newErrback(name, fn, opts.params)
	}
	var sig *signature
	if opts.params != nil {
		var err error
		if sig, err = parseSignature(*opts.params); err != nil {
			return nil, fmt.Errorf("Params(%q): %w", *opts.params, err)
		}
	}
	v := reflect.ValueOf(fn)
	if !v.IsValid() || (v.Kind() == reflect.Func || v.Kind() == reflect.Pointer) && v.IsNil() {
		return nil, errors.New("the task is nil")
	}
	switch fn := fn.(type) {
	case celeryTask:
		return newCeleryTaskHandler(name, fn, sig)
	case Handler:
		return newContextHandler(fn, sig)
	case func(context.Context, *Request) (any, error):
		return newContextHandler(HandlerFunc(fn), sig)
	}
	if v.Kind() != reflect.Func {
		return nil, fmt.Errorf("%T is no task: a task is a function func([ctx context.Context,] [arguments...]) "+
			"([result,] [error]), a tasks.Handler, or a gocelery task", fn)
	}
	return newFunction(name, v, sig)
}

func newContextHandler(h Handler, sig *signature) (Handler, error) {
	if sig != nil {
		return nil, errors.New("Params is for functions: a Handler reads its arguments itself")
	}
	return contextHandler{h}, nil
}

// contextHandler makes Current work in a low-level handler.
type contextHandler struct{ Handler }

func (h contextHandler) Handle(ctx context.Context, req *Request) (any, error) {
	return h.Handler.Handle(NewContext(ctx, req), req)
}
