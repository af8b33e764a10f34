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
	reading     *bodyReading // nil: no executor reads what cannot be read here
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
		schedule: w.schedule, parking: w.parking, limits: w.limits, reading: w.intake.reading, runner: w.runner,
		store: w.cfg.Store, loader: w.stored.Loader, location: w.cfg.Location, log: w.log,
	}
}

// SetRateLimit changes the rate limit of a task, in Celery's notation; "" and "0" lift it. It
// stays when the task's executor restarts.
func (o *Operations) SetRateLimit(task, limit string) error {
	rate, err := tasks.ParseRateLimit(limit)
	if err != nil {
		return err
	}
	if !o.tasks.setRate(task, limit, rate) {
		return fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	return nil
}

// SetTimeLimits changes both time limits of a task; 0: none. Tasks that run keep theirs. They
// stay when the task's executor restarts.
func (o *Operations) SetTimeLimits(task string, soft, hard time.Duration) error {
	if o.tasks.of(task) == nil {
		return fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	if soft < 0 || hard < 0 {
		return errors.New("worker: time limits must not be negative")
	}
	o.tasks.setTimes(task, timeLimits{hard: hard, soft: soft})
	return nil
}

// Resize changes how many requests the pool (Config.Pool) runs at the same time. When there
// are fewer, those that run go on until they return.
func (o *Operations) Resize(concurrency int) error {
	return o.ResizeExecutor(o.runner.main.name, concurrency)
}

// ResizeExecutor is Resize for an executor by its name; "": that of Go handlers.
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

// Restart has all executors restart (see Executor.Restart), and then looks which tasks they run:
// Celery's pool_restart.
func (o *Operations) Restart(ctx context.Context, modules ...string) error {
	var errs []error
	for _, p := range o.runner.pools {
		err := p.executor.Restart(ctx, modules...)
		if err == nil {
			err = o.refresh(p)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("worker: executor %q: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// Refresh looks which tasks the executors run now, as Restart does: for one that has restarted by
// itself. Messages that come from now on meet what it finds; tasks that are gone are unknown.
// Limits that SetRateLimit and SetTimeLimits have set stay.
func (o *Operations) Refresh() error {
	var errs []error
	for _, p := range o.runner.pools {
		errs = append(errs, o.refresh(p))
	}
	return errors.Join(errs...)
}

func (o *Operations) refresh(p *pool) error {
	if p.tasks == nil {
		return nil
	}
	if err := o.tasks.registered.ReplaceFor(p.name, p.tasks()); err != nil {
		return err
	}
	o.tasks.refresh()
	return nil
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
