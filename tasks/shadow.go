package tasks

import (
	"context"
	"errors"
)

// ErrShadow is what a shadow is told that waits for the result of what it has sent, or prepares what somebody else is to send.
var ErrShadow = errors.New("tasks: a shadow sends nothing, so there is nothing to wait for")

// Shadowable says that the Go handler of a task may run as a shadow: once more, on a copy of the message that the Python task
// of the same name has run, to compare what comes of both. That is for handlers that change nothing, or that leave out what
// they would change where Shadowed is true. Without it no worker runs the handler so.
func Shadowable() Option { return taskOption(func(o *Options) { o.shadow = true }) }

// Shadowable tells whether the task's handler may run as a shadow.
func (e *Entry) Shadowable() bool { return e.Options.shadow }

// Shadowed tells whether the handler that was given the context, or one it is derived from, runs as a shadow, whose result
// nobody gets. What a shadow sends with this context goes nowhere: UpdateState, Send, Replace, and all of package client. All else
// that it changes, such as rows of a database, it must leave out itself:
//
//	price := priceOf(order)
//	if !tasks.Shadowed(ctx) {
//		err = save(ctx, order, price)
//	}
func Shadowed(ctx context.Context) bool { return ctx.Value(shadowKey{}) != nil }

// ShadowContext returns a context in which Shadowed is true. A worker runs shadows in such contexts, and so can tests of handlers.
func ShadowContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, shadowKey{}, true)
}

type shadowKey struct{}
