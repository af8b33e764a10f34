// Package batches runs tasks many at a time: their messages wait until there are enough of them, or the first has waited
// for long enough, and then one call of a handler gets all. To those who send and wait, it is a task like all others, as
// with celery-batches in Python:
//
//	batches.Register(reg, "shop.tasks.index", index, batches.Options{Every: 100, Within: time.Second})
//
//	func index(ctx context.Context, items []batches.Item[Page]) ([]batches.Result[string], error)
//
// Unlike there, each task of a batch is a task of its own also to the worker. It has its own result or error, is retried,
// ignored or rejected as its own error says, is stored, acknowledged and told of by itself, has its callbacks and its
// place in chains and chords. One whose arguments do not fit fails alone, before the handler is called.
//
// # While a message waits
//
// It is acknowledged after the handler has returned, whatever settings say, so that nothing is lost with the worker: what
// it held goes back, and runs elsewhere. It waits as one that is reserved, and not as one that runs. It can be revoked, may
// expire, and its time limits count from the call. A warm shutdown has everything run that waits, at once.
//
// A batch takes none of the worker's slots (-c), and messages that wait count in no other task's share of the prefetch: for a
// batch of 100 nothing else has to be set. What is due later waits for that first, and a rate limit counts tasks, not calls.
//
// # While the handler runs
//
// Its context is done when none of the tasks is to go on, with the reason of the last one as its cause: time limits, which
// begin and end together, for example. Items have contexts of their own.
package batches

import (
	"context"
	"fmt"
	"time"

	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// Item is one task of a batch.
type Item[A any] struct {
	// Context is that of the task, for tasks.Logger, UpdateState, Send and so on. It is done when the task is to end.
	Context context.Context //nolint:containedctx // each item has one
	// Request is the task, as tasks.Current(Context) returns it.
	Request *tasks.Request
	// Args are its arguments: a struct has one field for each parameter, as with tasks.Define.
	Args A
}

// Result is what comes of one task.
type Result[R any] struct {
	Value R
	// Err fails the task, or asks for something else: tasks.Retry, Ignore, Reject, Raise. nil: it succeeds.
	Err error
}

// Options say when a batch is complete.
type Options struct {
	// Every is how many tasks make a batch. Default 10.
	Every int
	// Within is how long a message waits for others, at most. Default 30 s.
	Within time.Duration
	// AtOnce is how many batches run at the same time. Default 1. Meanwhile the next one fills.
	AtOnce int
}

// Register registers a task whose messages are run in batches. The handler returns a result for each item, at the same
// place; none at all are as many zero values. If it returns an error instead, or panics, that is what all tasks come to.
//
// Options are those of Registry.Register, but for AcksLate. Register panics where that does, and where an option is negative. It is
// to be called before the worker is made.
func Register[A, R any](reg *tasks.Registry, name string, handler func(ctx context.Context, items []Item[A]) ([]Result[R], error), o Options, opts ...tasks.Option) {
	if o.Every < 0 || o.Within < 0 || o.AtOnce < 0 {
		panic(fmt.Sprintf("batches: Register(%q): options must not be negative: %+v", name, o))
	}
	if o.Every == 0 {
		o.Every = 10
	}
	if o.Within == 0 {
		o.Within = 30 * time.Second
	}
	if o.AtOnce == 0 {
		o.AtOnce = 1
	}
	t := &task[A, R]{name: name, handler: handler}
	executor := func() worker.ExecutorConfig {
		n := o.Every * (o.AtOnce + 1)
		return worker.ExecutorConfig{
			Executor: &executor{Executor: worker.Goroutines(), gathering: &gathering{options: o}}, InProcess: true, AcksLate: true,
			Concurrency: n, Prefetch: n,
		}
	}
	reg.Register(name, t.run, append(opts, tasks.OwnExecutor(executor))...)
}

// task is the handler of a task that is run in batches.
type task[A, R any] struct {
	name    string
	handler func(ctx context.Context, items []Item[A]) ([]Result[R], error)
}

// run is called for each task of a batch. One of them calls the handler for all.
func (t *task[A, R]) run(ctx context.Context, args A) (result R, err error) {
	item := Item[A]{Context: ctx, Request: tasks.Current(ctx), Args: args}
	m := memberOf(ctx)
	if m == nil { // called by another task, such as celery.map: a batch of one
		return t.call(ctx, []Item[A]{item}).of(0)
	}
	if leads := m.arrive(item); leads {
		arrived := m.batch.items()
		items := make([]Item[A], len(arrived))
		for i := range arrived {
			items[i] = arrived[i].(Item[A])
		}
		m.batch.finish(t.call(m.batch.ctx, items), nil)
	}
	outcome, err := m.outcome()
	if err != nil {
		return result, err
	}
	return outcome.(results[R]).of(m.place)
}

// results are what a call of the handler has returned.
type results[R any] struct {
	list []Result[R]
	err  error
}

// call calls the handler and looks at what it returns.
func (t *task[A, R]) call(ctx context.Context, items []Item[A]) results[R] {
	list, err := t.handler(ctx, items)
	if err == nil && list != nil && len(list) != len(items) {
		err = fmt.Errorf("batches: the handler of %s returned %d results for %d tasks", t.name, len(list), len(items))
	}
	return results[R]{list, err}
}

// of is what has come of the item at a place.
func (r results[R]) of(place int) (value R, err error) {
	switch {
	case r.err != nil:
		return value, r.err
	case r.list == nil:
		return value, nil
	default:
		return r.list[place].Value, r.list[place].Err
	}
}
