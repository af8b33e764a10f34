package tasks

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// PythonError is implemented by errors that name the Python exception they are.
// The task then fails with that class, constructed with the error's text.
type PythonError interface {
	error
	// PythonType returns where Python finds the class: "shop.errors", "OutOfStock".
	PythonType() (module, class string)
}

// raised is an error with a Python class and, when it came from Raise, arguments.
type raised struct {
	module, class string
	text          string
	args          []any     // constructor arguments after the text
	stack         []uintptr // where Raise was called
	cause         error
}

func (e *raised) Error() string                { return e.text }
func (e *raised) Unwrap() error                { return e.cause }
func (e *raised) PythonType() (string, string) { return e.module, e.class }

// StackTrace returns where Raise was called, innermost first: those who report errors look for a method of this name.
func (e *raised) StackTrace() []uintptr { return e.stack }

// Raise returns an error that fails the task with the Python exception
// excType(msg, args...). A name without a dot is a builtin, "ValueError"; other
// classes are named with their module, "shop.errors.OutOfStock". Python callers get
// that very class from AsyncResult.get() where they have imported it, and one of the
// same name otherwise.
//
// Without a text and further arguments the exception has none: ValueError(). Wrapping the
// error with %w keeps the class.
//
// SystemExit, KeyboardInterrupt and whatever else is no Exception to Python would end the
// program that asks for the result. As with a Celery worker, whose process they end, the task
// fails with WorkerLostError, and is not retried by AutoRetry.
func Raise(excType, msg string, args ...any) error {
	module, class := "builtins", excType
	if i := strings.LastIndexByte(excType, '.'); i >= 0 {
		module, class = excType[:i], excType[i+1:]
	}
	return &raised{module: module, class: class, text: msg, args: args, stack: callers(1)}
}

// ExceptionOf returns the Python exception that a handler's error stands for:
//
//   - a *protocol.Exception is itself
//   - an error from Raise, and one that is a PythonError, has the class it names
//   - every other error is an Exception with the error's text
//   - one that would end the process is a WorkerLostError: see Raise
//
// Errors are looked for with errors.As; the class is that of the error found, the
// text that of err as a whole. Further arguments given to Raise mean that the class
// takes more than a text, so that the arguments are then kept as they were given.
// err must not be nil.
func ExceptionOf(err error) *protocol.Exception {
	exc := &protocol.Exception{Module: "builtins", Type: "Exception"}
	args := []any{err.Error()}
	var stack []uintptr
	if end := processEnd(err); end != nil {
		return end
	}
	if remote := (*protocol.Exception)(nil); errors.As(err, &remote) {
		return remote
	}
	var named PythonError
	if errors.As(err, &named) {
		exc.Module, exc.Type = named.PythonType()
	}
	context := "" // what wrapping the error has added, where the arguments do not show it
	if r, ok := named.(*raised); ok {
		stack = r.stack
		if err.Error() == "" {
			args = nil
		}
		if len(r.args) > 0 {
			args = append([]any{r.text}, r.args...)
			if err.Error() != r.text {
				context = err.Error()
			}
		}
	}
	exc.Message = encodeArgs(args)
	exc.Traceback = traceback(stack, exc, context)
	return exc
}

// encodeArgs writes the constructor arguments. One that has no JSON form is replaced
// by its text, as Celery does.
func encodeArgs(args []any) []byte {
	dst := []byte{'['}
	for _, arg := range args {
		dst = pyjson.AppendComma(dst)
		encoded, err := pyjson.Append(dst, arg)
		if err != nil {
			encoded = pyjson.AppendString(dst, fmt.Sprint(arg))
		}
		dst = encoded
	}
	return append(dst, ']')
}

// panicked makes the exception of a panic. An error that names its class keeps it,
// everything else is a RuntimeError.
func panicked(value any) *protocol.Exception {
	err, ok := value.(error)
	if !ok {
		err = fmt.Errorf("%v", value)
	}
	exc := *ExceptionOf(err)
	if exc.Module == "builtins" && exc.Type == "Exception" {
		exc.Type = "RuntimeError"
	}
	exc.Traceback = traceback(callers(0), &exc, "")
	return &exc
}
