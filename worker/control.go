package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// ErrUnknownTask is returned for the name of a task that is not registered.
var ErrUnknownTask = errors.New("worker: unknown task")

// Revoke has the worker discard tasks by their ids when it meets them, for as long as
// Config.RevokeExpires. Their state becomes REVOKED at once, unless they have succeeded.
//
// With terminate, handlers that run are stopped, too: their context is cancelled with the
// cause tasks.ErrRevoked, and after a moment they are not waited for any more. It returns
// the ids of those.
func (w *Worker) Revoke(ctx context.Context, terminate bool, ids ...string) (terminated []string) {
	w.revoked.add(time.Now(), ids...)
	w.log.Info("Tasks flagged as revoked: " + strings.Join(ids, ", "))
	w.keepState()
	w.storeRevoked(ctx, ids)
	if !terminate {
		return nil
	}
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	return w.terminate(func(r *request) bool { return wanted[r.ID] })
}

// RevokeByStamps has the worker discard tasks that have one of these values in a stamped
// header. With terminate, those that run are stopped, and their ids returned.
func (w *Worker) RevokeByStamps(terminate bool, headers map[string][]json.RawMessage) (terminated []string) {
	for header, values := range headers {
		w.stamps.add(header, values...)
	}
	w.keepState()
	if !terminate {
		return nil
	}
	return w.terminate(func(r *request) bool {
		_, _, found := w.stamps.match(r.Task)
		return found
	})
}

// terminateGrace is how long a handler has to return after its task was terminated.
const terminateGrace = 200 * time.Millisecond

func (w *Worker) terminate(match func(*request) bool) (ids []string) {
	for _, r := range w.slots.running() {
		if !match(r) || r.revoked.Swap(true) {
			continue
		}
		ids = append(ids, r.ID)
		w.log.Info("Terminating "+r.ID+" (SIGTERM)", taskAttrs(r.Task)...)
		r.stop(tasks.ErrRevoked)
		time.AfterFunc(terminateGrace, func() {
			member := w.slots.of(r)
			if member == nil || !r.finish(abandoned) {
				return
			}
			w.abandon(member, r, w.revocation(r, "terminated", true))
			w.hooks.taskRevoked(r, true, false)
		})
	}
	return ids
}

// storeRevoked stores REVOKED for tasks that have no state yet, or are to be retried.
// Those that run are left to their workers, and results that are there stay.
func (w *Worker) storeRevoked(ctx context.Context, ids []string) {
	if w.loader == nil {
		return
	}
	present, err := w.loader.LoadMany(ctx, ids...)
	if err != nil {
		w.log.Warn("Failed to mark tasks as revoked in backend: " + err.Error())
		return
	}
	exc := newException("celery.exceptions", "TaskRevokedError", "revoked")
	var records []backend.Record
	for i, id := range ids {
		if present[i] != nil {
			if state, err := backend.State(present[i]); err != nil || state != protocol.Retry {
				continue
			}
		}
		rec := protocol.Result{
			State: protocol.Revoked, Result: exc.Append(nil), Children: []byte("null"), TaskID: id,
			DateDone: time.Now().In(w.cfg.Location),
		}
		records = append(records, backend.Record{TaskID: id, Document: rec.Append(nil)})
	}
	if err := w.cfg.Store.Store(ctx, records...); err != nil {
		w.log.Warn("Failed to mark tasks as revoked in backend: " + err.Error())
	}
}

// Revoked returns the ids that are flagged as revoked.
func (w *Worker) Revoked() []string {
	items := w.revoked.all(time.Now())
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.text
	}
	return ids
}

// SetRateLimit changes the rate limit of a task, in Celery's notation; "" and "0" lift it.
func (w *Worker) SetRateLimit(task, limit string) error {
	rate, err := tasks.ParseRateLimit(limit)
	if err != nil {
		return err
	}
	t := w.task(task)
	if t == nil {
		return fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	l := t.limiter.Load()
	switch {
	case l == nil && rate == 0:
	case l == nil:
		t.limiter.CompareAndSwap(nil, newLimiter(w, rate))
	case rate == 0:
		t.limiter.CompareAndSwap(l, nil)
		l.setRate(0)
	default:
		l.setRate(rate)
	}
	return nil
}

// SetTimeLimits changes both time limits of a task; 0: none. Tasks that run keep theirs.
func (w *Worker) SetTimeLimits(task string, soft, hard time.Duration) error {
	t := w.task(task)
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
	w.slots.resize(concurrency)
	w.backlog.resize(w.cfg.prefetch(concurrency), concurrency)
	return nil
}

// AddQueue starts consuming from a queue.
func (w *Worker) AddQueue(ctx context.Context, q broker.Queue) error {
	queues, ok := w.cfg.Consumer.(broker.Queues)
	if !ok {
		return fmt.Errorf("worker: %T cannot change its queues", w.cfg.Consumer)
	}
	return queues.AddQueue(ctx, q)
}

// CancelQueue stops consuming from a queue.
func (w *Worker) CancelQueue(ctx context.Context, name string) error {
	queues, ok := w.cfg.Consumer.(broker.Queues)
	if !ok {
		return fmt.Errorf("worker: %T cannot change its queues", w.cfg.Consumer)
	}
	return queues.CancelQueue(ctx, name)
}
