package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// ErrUnknownTask is returned for the name of a task that is not registered.
var ErrUnknownTask = errors.New("worker: unknown task")

var errQueues = errors.New("worker: the queues of this broker's consumers cannot be changed")

// Operations are what operators ask of a running worker, and change in it: the methods
// behind Celery's remote control. They may be called at any time, from any goroutine.
type Operations struct {
	able        broker.Abilities // of the consumer
	decoder     *protocol.Decoder
	tasks       *taskConfigs
	revocations *revocations
	schedule    *schedule
	parking     *parking
	limits      *limits
	runner      *runner
	store       backend.Store
	loader      backend.Loader // nil: the store cannot be read
	location    *time.Location
	log         taskLog
}

// Operations returns what operators may ask of the worker.
func (w *Worker) Operations() *Operations {
	return &Operations{
		able: w.able, decoder: &w.decoder, tasks: w.tasks, revocations: w.revocations,
		schedule: w.schedule, parking: w.parking, limits: w.limits, runner: w.runner,
		store: w.cfg.Store, loader: w.stored.Loader, location: w.cfg.Location, log: w.log,
	}
}

// SetRateLimit changes the rate limit of a task, in Celery's notation; "" and "0" lift it.
func (o *Operations) SetRateLimit(task, limit string) error {
	rate, err := tasks.ParseRateLimit(limit)
	if err != nil {
		return err
	}
	t := o.tasks.of(task)
	if t == nil {
		return fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	t.rateLimit.Store(&limit)
	o.limits.set(t, rate)
	return nil
}

// SetTimeLimits changes both time limits of a task; 0: none. Tasks that run keep theirs.
func (o *Operations) SetTimeLimits(task string, soft, hard time.Duration) error {
	t := o.tasks.of(task)
	if t == nil {
		return fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	if soft < 0 || hard < 0 {
		return errors.New("worker: time limits must not be negative")
	}
	t.limits.Store(&timeLimits{hard: hard, soft: soft})
	return nil
}

// Resize changes how many handlers run at the same time. When there are fewer, those
// that run go on until they return.
func (o *Operations) Resize(concurrency int) error {
	if concurrency < 1 {
		return fmt.Errorf("worker: a worker needs at least 1 slot, not %d", concurrency)
	}
	o.runner.goroutines().resize(concurrency, concurrency)
	return nil
}

// ResizeExecutor changes how many requests an executor of Config.Executors runs at the same
// time, as Resize does for Go handlers.
func (o *Operations) ResizeExecutor(name string, slots int) error {
	p := o.runner.pool(name)
	switch {
	case p == nil:
		return fmt.Errorf("worker: there is no executor %q", name)
	case slots < 1:
		return fmt.Errorf("worker: an executor needs at least 1 slot, not %d", slots)
	}
	p.resize(slots, slots)
	return nil
}

// Restart has all executors restart (see Executor.Restart): Celery's pool_restart.
func (o *Operations) Restart(ctx context.Context) error {
	var errs []error
	for _, p := range o.runner.pools {
		if err := p.executor.Restart(ctx); err != nil {
			errs = append(errs, fmt.Errorf("worker: executor %q: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// Call calls what is no task, such as a command of remote control, as a Go handler is called.
// It may end its goroutine: that is an error.
func (o *Operations) Call(ctx context.Context, entry *tasks.Entry, req *tasks.Request) (any, error) {
	return callApart(ctx, o.runner.goroutines().executor, entry, req)
}

// AddQueue starts consuming from a queue.
func (o *Operations) AddQueue(ctx context.Context, q broker.Queue) error {
	queues, err := o.queues()
	if err != nil {
		return err
	}
	return queues.AddQueue(ctx, q)
}

// CancelQueue stops consuming from a queue.
func (o *Operations) CancelQueue(ctx context.Context, name string) error {
	queues, err := o.queues()
	if err != nil {
		return err
	}
	return queues.CancelQueue(ctx, name)
}

func (o *Operations) queues() (broker.Queues, error) {
	if o.able.Queues == nil {
		return nil, errQueues
	}
	return o.able.Queues, nil
}

// TimeLimits returns the limits of tasks that say nothing themselves; 0: none.
func (o *Operations) TimeLimits() (hard, soft time.Duration) {
	return value(o.tasks.defaults.TimeLimit, 0), value(o.tasks.defaults.SoftTimeLimit, 0)
}
