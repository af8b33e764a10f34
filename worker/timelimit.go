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

// limitTime arms the limits of a request that begins.
func (p *pool) limitTime(r *request) {
	limits := r.timeLimits()
	if limits.soft > 0 {
		r.softLimit = time.AfterFunc(limits.soft, func() { p.softLimit(r, limits.soft) })
	}
	if limits.hard > 0 {
		r.hardLimit = time.AfterFunc(limits.hard, func() { p.hardLimit(r, limits.hard) })
	}
}

// stopLimits is called when the request has ended.
func (r *request) stopLimits() {
	if r.softLimit != nil {
		r.softLimit.Stop()
	}
	if r.hardLimit != nil {
		r.hardLimit.Stop()
	}
}

func (p *pool) softLimit(r *request, limit time.Duration) {
	if r.phase.Load() != running {
		return
	}
	p.runner.log.task(slog.LevelWarn, r, "Soft time limit exceeded",
		fmt.Sprintf("Soft time limit (%ss) exceeded for %s", pythonNumber(limit), nameAndID(r.Task)), slog.Float64("limit", limit.Seconds()))
	r.stop(tasks.ErrSoftTimeLimit)
	r.slot.place.Stop((*Run)(r), Stop{Strength: StopSoft})
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

// hardLimit fails a request that still runs, and has its slot run others.
func (p *pool) hardLimit(r *request, limit time.Duration) {
	if !r.finish(abandoned) {
		return
	}
	r.stop(tasks.ErrTimeLimit)
	trace := r.slot.place.Trace()
	r.slot.place.Stop((*Run)(r), Stop{Strength: StopKill})
	p.abandon(r, p.runner.timedOut(r, limit, trace))
}

// timedOut is the settlement of a request that has exceeded its hard time limit.
func (w *Worker) timedOut(r *request, limit time.Duration, trace string) settlement {
	w.log.task(slog.LevelError, r, "Hard time limit exceeded",
		fmt.Sprintf("Hard time limit (%ss) exceeded for %s", pythonNumber(limit), nameAndID(r.Task)), slog.Float64("limit", limit.Seconds()))
	exc := newException("billiard.exceptions", "TimeLimitExceeded", seconds(limit))
	w.log.handlerError(r, exc, trace)
	s := w.failure(r, exc, limit)
	s.rejected = notRejected
	if r.acksLate && !r.task.acksOnTimeout {
		s.fate, s.rejected, s.end.requeue = requeue, rejectedFirst, true
	}
	return s
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
