package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/tasks"
)

// ErrUnknownTask is returned for the name of a task that is not registered.
var ErrUnknownTask = errors.New("worker: unknown task")

// SetRateLimit changes the rate limit of a task, in Celery's notation; "" and "0" lift it.
func (w *Worker) SetRateLimit(task, limit string) error {
	rate, err := tasks.ParseRateLimit(limit)
	if err != nil {
		return err
	}
	t := w.tasks.of(task)
	if t == nil {
		return fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	t.rateLimit.Store(&limit)
	w.limits.set(t, rate)
	return nil
}

// SetTimeLimits changes both time limits of a task; 0: none. Tasks that run keep theirs.
func (w *Worker) SetTimeLimits(task string, soft, hard time.Duration) error {
	t := w.tasks.of(task)
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
func (w *Worker) Resize(concurrency int) error {
	if concurrency < 1 {
		return fmt.Errorf("worker: a worker needs at least 1 slot, not %d", concurrency)
	}
	w.runner.goroutines().resize(concurrency, concurrency)
	return nil
}

// ResizeExecutor changes how many requests an executor of Config.Executors runs at the same
// time, as Resize does for Go handlers.
func (w *Worker) ResizeExecutor(name string, slots int) error {
	p := w.runner.pool(name)
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
func (w *Worker) Restart(ctx context.Context) error {
	var errs []error
	for _, p := range w.runner.pools {
		if err := p.executor.Restart(ctx); err != nil {
			errs = append(errs, fmt.Errorf("worker: executor %q: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// Call calls what is no task, such as a command of remote control, as a Go handler is called.
// It may end its goroutine: that is an error.
func (w *Worker) Call(ctx context.Context, entry *tasks.Entry, req *tasks.Request) (any, error) {
	return callApart(ctx, w.runner.goroutines().executor, entry, req)
}

// AddQueue starts consuming from a queue.
func (w *Worker) AddQueue(ctx context.Context, q broker.Queue) error {
	queues, err := w.queues()
	if err != nil {
		return err
	}
	return queues.AddQueue(ctx, q)
}

// CancelQueue stops consuming from a queue.
func (w *Worker) CancelQueue(ctx context.Context, name string) error {
	queues, err := w.queues()
	if err != nil {
		return err
	}
	return queues.CancelQueue(ctx, name)
}

func (w *Worker) queues() (broker.Queues, error) {
	queues, ok := w.cfg.Consumer.(broker.Queues)
	if !ok {
		return nil, fmt.Errorf("worker: %T cannot change its queues", w.cfg.Consumer)
	}
	return queues, nil
}

// Queues returns the queues that are consumed now; nil if the consumer cannot tell.
func (w *Worker) Queues() []broker.Queue {
	if queues, ok := w.cfg.Consumer.(broker.Queues); ok {
		return queues.Queues()
	}
	return nil
}

// TimeLimits returns the limits of tasks that say nothing themselves; 0: none.
func (w *Worker) TimeLimits() (hard, soft time.Duration) {
	return value(w.cfg.Defaults.TimeLimit, 0), value(w.cfg.Defaults.SoftTimeLimit, 0)
}
