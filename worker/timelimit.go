package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// limitTime arms the limits of a request whose handler is about to run.
func (w *Worker) limitTime(s *slot, r *request) (stop func()) {
	limits := r.timeLimits()
	if limits == (timeLimits{}) {
		return func() {}
	}
	var soft, hard *time.Timer
	if limits.soft > 0 {
		soft = time.AfterFunc(limits.soft, func() { w.softLimit(r, limits.soft) })
	}
	if limits.hard > 0 {
		hard = time.AfterFunc(limits.hard, func() { w.hardLimit(s, r, limits.hard) })
	}
	return func() {
		if soft != nil {
			soft.Stop()
		}
		if hard != nil {
			hard.Stop()
		}
	}
}

func (w *Worker) softLimit(r *request, limit time.Duration) {
	if r.phase.Load() != running {
		return
	}
	w.log.task(slog.LevelWarn, r, "Soft time limit exceeded",
		fmt.Sprintf("Soft time limit (%ss) exceeded for %s", pythonNumber(limit), nameAndID(r.Task)), slog.Float64("limit", limit.Seconds()))
	r.stop(tasks.ErrSoftTimeLimit)
}

// softTimeout says what an error means that a handler returned after its soft limit: that
// it gave up because its context was done is SoftTimeLimitExceeded.
func (w *Worker) softTimeout(ctx context.Context, err error) error {
	gaveUp := errors.Is(err, tasks.ErrSoftTimeLimit) ||
		errors.Is(context.Cause(ctx), tasks.ErrSoftTimeLimit) && errors.Is(err, context.Canceled)
	if !gaveUp || tasks.IsOutcome(err) {
		return err
	}
	return errSoftTimeLimitExceeded
}

// errSoftTimeLimitExceeded is what Celery raises in the task, without arguments.
var errSoftTimeLimitExceeded = &protocol.Exception{
	Module: "billiard.exceptions", Type: "SoftTimeLimitExceeded", Message: []byte("[]"),
	Traceback: "Traceback (most recent call last):\nbilliard.exceptions.SoftTimeLimitExceeded: SoftTimeLimitExceeded()\n",
}

// hardLimit fails a task that still runs, and lets go of its goroutine: its stack is
// logged, and its slot is free for others.
func (w *Worker) hardLimit(member *slot, r *request, limit time.Duration) {
	if !r.finish(abandoned) {
		return
	}
	r.stop(tasks.ErrTimeLimit)
	w.log.task(slog.LevelError, r, "Hard time limit exceeded",
		fmt.Sprintf("Hard time limit (%ss) exceeded for %s", pythonNumber(limit), nameAndID(r.Task)), slog.Float64("limit", limit.Seconds()))
	exc := newException("billiard.exceptions", "TimeLimitExceeded", seconds(limit))
	w.log.handlerError(r, exc, member.stack())
	s := w.failure(r, exc, limit)
	s.rejected = notRejected
	if r.acksLate && !r.task.acksOnTimeout {
		s.fate, s.rejected, s.end.requeue = requeue, rejectedFirst, true
	}
	w.abandon(member, r, s)
}

// abandon settles a request whose handler is not waited for any more.
func (w *Worker) abandon(member *slot, r *request, s settlement) {
	w.backlog.ran(r, time.Since(r.started))
	w.slots.replace(member)
	w.settle(s)
}

// seconds is a duration as Python callers give limits: whole seconds are an int.
func seconds(d time.Duration) any {
	if d%time.Second == 0 {
		return int64(d / time.Second)
	}
	return d.Seconds()
}

// pythonNumber is the text of seconds.
func pythonNumber(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprint(int64(d / time.Second))
	}
	return pythonSeconds(d.Seconds())
}
