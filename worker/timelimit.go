package worker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/tasks"
)

// timeLimits are those of the message, where it has any, and else the task's.
func (r *request) timeLimits() timeLimits {
	limits := *r.task.limits.Load()
	if r.TimeLimit > 0 {
		limits.hard = r.TimeLimit
	}
	if r.SoftTimeLimit > 0 {
		limits.soft = r.SoftTimeLimit
	}
	return limits
}

// limitTime arms the limits of a request that begins.
func (p *pool) limitTime(r *request) {
	limits := r.timeLimits()
	if limits.soft > 0 && !p.restraints.NoSoftTimeLimit {
		r.softLimit = time.AfterFunc(limits.soft, func() { p.softLimit(r, limits.soft) })
	}
	if limits.hard > 0 && !p.restraints.NoTimeLimit {
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
