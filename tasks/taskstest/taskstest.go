// Package taskstest runs registered tasks in memory, as a worker runs them, for the tests of
// those who write handlers. It is the worker itself, with a broker and a result backend in
// memory: arguments are bound, retries counted and errors stored as in production, and hooks
// and middleware of the registry are called. No server is needed, and a run takes about a
// millisecond.
//
//	func TestCharge(t *testing.T) {
//		run := taskstest.Run(t, reg, "shop.tasks.charge", "order-1", 250)
//		var receipt string
//		run.Result(&receipt) // fails the test if the task has not succeeded
//	}
//
// One task is run. What it publishes is kept for the test to look at, and not run; see package
// client for whole workflows in memory.
//
// # Time
//
// Retries that are followed do not wait. Where a test is about time, such as a time limit or a
// handler that sleeps, run it inside of [testing/synctest.Test]: there, minutes pass at once.
package taskstest

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// T is what a run needs of a *testing.T.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
	Output() io.Writer // gets the worker's log
}

// Run runs a task with positional arguments, values that pyjson can write, and returns what
// came of it. The test fails if the task is not registered, or the call cannot be written.
func Run(t T, reg *tasks.Registry, task string, args ...any) *Outcome {
	t.Helper()
	return Apply(t, reg, canvas.Sig(task, args...))
}

// Apply runs the task of a signature, with its keyword arguments, callbacks and options:
//
//	taskstest.Apply(t, reg, canvas.Sig("shop.tasks.charge", "order-1").Kw(map[string]any{"cents": 250}))
func Apply(t T, reg *tasks.Registry, sig canvas.Signature, opts ...Option) *Outcome {
	t.Helper()
	task, err := message(t.Context(), sig)
	if err != nil {
		t.Fatalf("taskstest: %v", err)
	}
	if _, ok := reg.Lookup(task.Name); !ok {
		t.Fatalf("taskstest: task %q is not registered", task.Name)
	}
	r := &run{t: t, Outcome: &Outcome{t: t, ID: task.ID, name: task.Name}}
	for _, opt := range opts {
		opt(&r.options)
	}
	for more := true; more; {
		before := len(r.retries)
		if err := r.once(reg, task); err != nil {
			t.Fatalf("taskstest: %v", err)
		}
		if more = r.follow && len(r.retries) > before && r.State() == protocol.Retry; more {
			again := *r.retries[before].Task
			again.ETA = time.Time{}
			task = &again
		}
	}
	return r.Outcome
}

// message is the task that a client sends.
func message(ctx context.Context, sig canvas.Signature) (sent *protocol.Task, err error) {
	c, err := client.New(client.Config{
		Publisher: nowhere{}, AfterPublish: func(_ context.Context, task *protocol.Task) { sent = task },
	})
	if err == nil {
		_, err = c.Send(ctx, sig)
	}
	return sent, err
}

// nowhere is where messages go that are only looked at.
type nowhere struct{}

func (nowhere) Publish(context.Context, ...broker.Publication) error { return nil }
func (nowhere) Close() error                                         { return nil }

// run is a worker that runs one task.
type run struct {
	*Outcome
	options
	t      T
	worker *worker.Worker
	stop   context.CancelFunc
	timers []*time.Timer
}

// once runs the task one time, until nothing of the worker is left.
func (r *run) once(reg *tasks.Registry, task *protocol.Task) error {
	var queues membroker.Broker
	own := reg.Clone()
	own.Connect(tasks.Hooks{AfterPublish: r.published, TaskRetry: r.retried})
	cfg := worker.Config{
		Registry: own, Consumer: queues.Consumer(task.RoutingKey), Publisher: nowhere{}, Store: store{membackend.New(), r.Outcome},
		Concurrency: 1, Hostname: "celery@taskstest", Observers: []worker.Observer{r},
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(r.t.Output(), &r.log), &slog.HandlerOptions{ReplaceAttr: withoutTime})),
	}
	for _, change := range r.configure {
		change(&cfg)
	}
	var err error
	if r.worker, err = worker.New(cfg); err != nil {
		return err
	}
	raw, err := protocol.EncodeTask(task, protocol.Publication{})
	if err != nil {
		return err
	}
	if err := queues.Publisher().Publish(r.t.Context(), broker.Publication{RoutingKey: task.RoutingKey, Message: raw}); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(r.t.Context())
	defer stop()
	r.stop = stop
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, timer := range r.timers {
			timer.Stop()
		}
	}()
	return r.worker.Run(ctx)
}

// withoutTime leaves the time out of log lines, so that they can be compared.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// Observe implements worker.Observer.
func (r *run) Observe(e worker.Event) {
	if e.Task == nil || e.Task.ID != r.ID {
		return
	}
	state, known := states[e.Kind]
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case e.Kind == worker.Started:
		for _, plan := range r.during {
			r.timers = append(r.timers, time.AfterFunc(plan.after, func() { plan.do(r.worker, r.ID) }))
		}
		return
	case !known:
		return
	}
	r.state, r.result, r.exception, r.requeued = state, e.Result, e.Raised, e.Requeue
	if e.Raised != nil && r.exception.Traceback == "" && e.Traceback != "" {
		told := *e.Raised
		told.Traceback = e.Traceback
		r.exception = &told
	}
	r.stop()
}

// states are what a task has come to by the events that say so.
var states = map[worker.Kind]protocol.State{
	worker.Succeeded: protocol.Success, worker.Failed: protocol.Failure, worker.Retried: protocol.Retry,
	worker.Revoked: protocol.Revoked, worker.Ignored: protocol.Ignored, worker.Rejected: protocol.Rejected,
}

// published is the AfterPublish hook.
func (r *run) published(_ context.Context, task *protocol.Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.retries); task.ID == r.ID && task.Name == r.name && task.Retries > 0 {
		if n > 0 && r.retries[n-1].Task == nil {
			r.retries[n-1].Task = task
		}
		return
	}
	r.children = append(r.children, task)
}

// retried is the TaskRetry hook, which comes before the message is published.
func (r *run) retried(_ context.Context, req *tasks.Request, reason *tasks.RetryError) {
	if req.ID != r.ID {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retries = append(r.retries, Retry{Cause: reason.Cause, Countdown: r.countdown(reason)})
}

// countdown is how long a retry is to wait.
func (r *run) countdown(reason *tasks.RetryError) time.Duration {
	switch {
	case reason.Countdown != nil:
		return *reason.Countdown
	case !reason.ETA.IsZero():
		return time.Until(reason.ETA)
	}
	delay, _ := r.worker.Operations().TaskAttribute(r.name, "default_retry_delay")
	seconds, _ := strconv.ParseFloat(delay, 64)
	return time.Duration(seconds * float64(time.Second))
}

// store keeps all records of the task.
type store struct {
	*membackend.Backend
	of *Outcome
}

// Store implements backend.Store.
func (s store) Store(ctx context.Context, records ...backend.Record) error {
	for _, record := range records {
		if record.TaskID != s.of.ID {
			continue
		}
		if result, err := protocol.DecodeResult(append([]byte(nil), record.Document...)); err == nil {
			s.of.mu.Lock()
			s.of.records = append(s.of.records, result)
			s.of.mu.Unlock()
		}
	}
	return s.Backend.Store(ctx, records...)
}
