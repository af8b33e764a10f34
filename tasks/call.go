package tasks

import "context"

// Call runs the task: it binds the request's arguments, calls the handler, and turns
// a panic into an error, a *protocol.Exception whose traceback is the Go stack.
// Current finds req in the context that the handler gets.
//
// ExceptionOf makes the Python exception of the error.
func (e *Entry) Call(ctx context.Context, req *Request) (result any, err error) {
	defer func() {
		if value := recover(); value != nil {
			result, err = nil, panicked(value)
		}
	}()
	return e.chain.Handle(ctx, req)
}
