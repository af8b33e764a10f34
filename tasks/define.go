package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/apium/apium/protocol/canvas"
)

// Task is a task that is defined once, with the types of its arguments and its result, and both
// registered and called by that definition:
//
//	type AddArgs struct{ X, Y int }
//
//	var add = tasks.Define("shop.tasks.add", func(ctx context.Context, args AddArgs) (int, error) {
//		return args.X + args.Y, nil
//	})
//
//	add.Register(reg)                                     // in the worker
//	result, err := add.Delay(ctx, c, AddArgs{X: 1, Y: 2}) // where it is called
//	sum, err := result.Get(ctx)
//
// To Python it is a task like all others: the fields of a struct are its parameters, as with
// Register.
type Task[A, R any] struct {
	name    string
	fn      func(context.Context, A) (R, error)
	opts    []Option
	options Options
	layout  *function
}

// Define defines a task. fn may be nil: such a task runs elsewhere, in Python say, and can be
// called and not be registered. Define panics where Register would.
func Define[A, R any](name string, fn func(context.Context, A) (R, error), opts ...Option) *Task[A, R] {
	t := &Task[A, R]{name: name, fn: fn, opts: opts}
	for _, opt := range opts {
		opt.setTask(&t.options)
	}
	if err := t.layOut(); err != nil {
		panic(fmt.Sprintf("tasks: %s: %v", called("Define", name), err))
	}
	return t
}

func (t *Task[A, R]) layOut() (err error) {
	if t.name == "" {
		return errors.New("the task needs a name")
	}
	var sig *signature
	if params := t.options.params; params != nil {
		if sig, err = parseSignature(*params); err != nil {
			return fmt.Errorf("Params(%q): %w", *params, err)
		}
	}
	if err := t.options.Validate(); err != nil {
		return err
	}
	t.layout, err = newFunction(t.name, reflect.ValueOf(t.fn), sig)
	return err
}

// Name is the name by which Python calls the task.
func (t *Task[A, R]) Name() string { return t.name }

// Register registers the task, as Registry.Register does, and panics as that does.
func (t *Task[A, R]) Register(reg *Registry) { reg.Register(t.name, t.fn, t.opts...) }

// TryRegister is Register that returns what is wrong instead of panicking.
func (t *Task[A, R]) TryRegister(reg *Registry) error {
	return reg.TryRegister(t.name, t.fn, t.opts...)
}

// S is the signature of a call, for canvases and for Send. Fields are given by their parameters'
// names. Of a parameter with a default, a nil pointer, slice, map or any is left out.
func (t *Task[A, R]) S(args A) canvas.Signature { return t.call(reflect.ValueOf(&args).Elem(), 0) }

// Partial is S without the first parameter, which is left to the result of the step before in a
// chain, or to the results of a chord's header:
//
//	canvas.Chain(add.S(AddArgs{X: 1, Y: 2}), add.Partial(AddArgs{Y: 3}))
func (t *Task[A, R]) Partial(args A) canvas.Signature {
	return t.call(reflect.ValueOf(&args).Elem(), 1)
}

// call makes the signature of a call without the first parameters.
func (t *Task[A, R]) call(args reflect.Value, from int) canvas.Signature {
	sig := t.layout.sig
	rest := reflect.Value{}
	if sig.varArgs != "" {
		rest = valueAt(args, t.layout.varArgs)
	}
	byPosition := sig.unnamed || rest.IsValid() && rest.Len() > 0
	var list []any
	named := map[string]any{}
	for i, name := range sig.names[min(from, len(sig.names)):] {
		i += from
		value := valueAt(args, t.layout.named[i])
		left := sig.defaults[i] != nil && isNil(value)
		switch positional := byPosition && i < sig.pos; {
		case positional && left:
			list = append(list, json.RawMessage(sig.defaults[i]))
		case positional:
			list = append(list, value.Interface())
		case !left:
			named[name] = value.Interface()
		}
	}
	for i := 0; byPosition && rest.IsValid() && i < rest.Len(); i++ {
		list = append(list, rest.Index(i).Interface())
	}
	if sig.varKw != "" {
		for key, value := range valueAt(args, t.layout.varKw).Seq2() {
			named[key.String()] = value.Interface()
		}
	}
	call := canvas.Sig(t.name, list...)
	if len(named) > 0 {
		call = call.Kw(named)
	}
	return call
}

// valueAt finds an argument in the value that stands for all.
func valueAt(args reflect.Value, s slot) reflect.Value {
	if s.field == nil {
		return args
	}
	if args.Kind() == reflect.Pointer {
		if args.IsNil() {
			args = reflect.New(args.Type().Elem())
		}
		args = args.Elem()
	}
	return args.FieldByIndex(s.field)
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	default:
		return false
	}
}

// Sender sends what Delay calls: a *client.Client, or an *app.App, which is one.
type Sender interface {
	// SendTask sends a signature and returns the id and the result of what it will run.
	SendTask(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (id string, result Untyped, err error)
}

// Untyped is the result of a task whose type the caller knows: a *client.AsyncResult.
type Untyped interface {
	Get(ctx context.Context, out any) error
	Revoke(ctx context.Context, terminate bool) error
	Forget(ctx context.Context) error
}

// AsyncResult is the result of a task with its type.
type AsyncResult[R any] struct {
	ID      string
	Untyped Untyped
}

// Get waits until the task is done and returns its result. A task that failed or was revoked
// gives its Python exception, as a *protocol.Exception.
func (r *AsyncResult[R]) Get(ctx context.Context) (result R, err error) {
	err = r.Untyped.Get(ctx, &result)
	return result, err
}

// Delay calls the task: it sends the message, with the options of Python's apply_async, and
// returns as soon as the broker has it. Inside of a task use Send with S instead, which makes the
// call a child of that task.
func (t *Task[A, R]) Delay(ctx context.Context, with Sender, args A, opts ...canvas.Option) (*AsyncResult[R], error) {
	id, result, err := with.SendTask(ctx, t.S(args).Set(t.options.published()...), opts...)
	if err != nil {
		return nil, err
	}
	return &AsyncResult[R]{ID: id, Untyped: result}, nil
}

// Call is Delay that waits for the result.
func (t *Task[A, R]) Call(ctx context.Context, with Sender, args A, opts ...canvas.Option) (result R, err error) {
	sent, err := t.Delay(ctx, with, args, opts...)
	if err != nil {
		return result, err
	}
	return sent.Get(ctx)
}
