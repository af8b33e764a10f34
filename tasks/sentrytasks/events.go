package sentrytasks

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/getsentry/sentry-go"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// describing has events, transactions too, say which task they are about.
func describing(hub *sentry.Hub, req *tasks.Request) sentry.EventProcessor {
	return func(event *sentry.Event, _ *sentry.EventHint) *sentry.Event {
		if event.Tags == nil {
			event.Tags = map[string]string{}
		}
		event.Tags["celery_task_id"] = req.ID
		if event.Transaction == "" {
			event.Transaction = req.Name
		}
		job := sentry.Context{"task_name": req.Name, "args": "[Filtered]", "kwargs": "[Filtered]"}
		if hub.Client().GetDataCollection().UserInfo.Value {
			job["args"], job["kwargs"] = shown(req.Args), shown(req.Kwargs)
		}
		event.Contexts["celery-job"] = job
		return event
	}
}

// shown is the JSON of arguments, or a text if they are long, or have what only Python's JSON has.
func shown(raw []byte) any {
	const long = 8 << 10
	switch {
	case len(raw) == 0:
		return nil
	case len(raw) <= long && json.Valid(raw):
		return json.RawMessage(raw)
	}
	return protocol.SafeRepr(raw)
}

// fail reports what a task has failed with, unless the task expects it.
func (p *reporter) fail(ctx context.Context, req *tasks.Request, exc *protocol.Exception) {
	entry, known := p.reg.Lookup(req.Name)
	if known && !entry.InGo() {
		return
	}
	var how returned
	hub := p.base(ctx)
	if r := runOf(ctx); r != nil {
		if ended := r.returned.Load(); ended != nil {
			how = *ended
		}
	} else { // it has not begun
		hub = hub.Clone()
		hub.Scope().AddEventProcessor(describing(hub, req))
	}
	err := how.err
	var retry *tasks.RetryError
	if errors.As(err, &retry) {
		err = retry.Cause
	}
	if exc.Module == billiard { // whatever the handler makes of it
		err = exc
	}
	if known && err != nil && entry.Options.Throws != nil && entry.Options.Throws(err) {
		return
	}
	event := sentry.NewEvent()
	event.Level = sentry.LevelError
	event.Exception = exceptions(err, exc, how.stack, hub.Client().Options().MaxErrorDepth)
	if exc.Module == billiard && exc.Type == "SoftTimeLimitExceeded" {
		event.Fingerprint = []string{"celery", exc.Type, req.Name}
	}
	hub.CaptureEvent(event)
}

const billiard = "billiard.exceptions"

// exceptions are an error and what it wraps, the error itself last. That has the name that it has in Python, unless it is one of those
// that are nothing but an Exception there: they keep their Go types.
func exceptions(err error, exc *protocol.Exception, stack []uintptr, depth int) []sentry.Exception {
	var event sentry.Event
	if event.SetException(err, depth); err == nil {
		event.Exception = []sentry.Exception{{Type: exc.Type, Value: exc.Text()}}
	}
	all := event.Exception
	last := &all[len(all)-1]
	switch {
	case stack != nil:
		last.Stacktrace = sentry.ExtractStacktrace(stacked(stack))
	case err == nil || sentry.ExtractStacktrace(err) == nil:
		last.Stacktrace = nil // and not that of this function
	}
	if module := exc.Module; module != "builtins" || exc.Type != "Exception" {
		if module == "builtins" {
			module = ""
		}
		for i := range all {
			if e := &all[i]; e == last || e.Type == "*tasks.raised" {
				e.Type, e.Module = exc.Type, module
			}
		}
		if last.Value = exc.Text(); module == billiard {
			last.Value = exc.Repr() // which is their text in Python
		}
	}
	for i := range all {
		trim(all[i].Stacktrace)
	}
	if last.Mechanism == nil {
		last.Mechanism = &sentry.Mechanism{}
	}
	last.Mechanism.Type = "celery"
	last.Mechanism.SetUnhandled()
	return all
}

// stacked is a stack in a form that Sentry reads.
type stacked []uintptr

// Error implements error, as Sentry asks errors for their stacks.
func (stacked) Error() string { return "" }

// StackTrace returns the stack.
func (s stacked) StackTrace() []uintptr { return s }

// trim leaves out of a stack what is between the start of the goroutine and the handler.
func trim(stack *sentry.Stacktrace) {
	if stack == nil {
		return
	}
	const own = "github.com/apium/apium/tasks"
	for i, frame := range stack.Frames {
		if frame.Module != own || frame.Function != "(*Entry).Call" {
			continue
		}
		rest := stack.Frames[i+1:]
		for len(rest) > 0 && (rest[0].Module == own || rest[0].Module == own+"/sentrytasks" || rest[0].Module == "reflect") {
			rest = rest[1:]
		}
		stack.Frames = rest
		return
	}
}
