package worker

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// Abort ends Run without waiting for running handlers (Celery's cold shutdown), after it
// has let them finish for Config.SoftShutdownTimeout. Then their contexts are cancelled
// with tasks.ErrShutdown. Messages that are acknowledged late go back to their queues; a
// task that was acknowledged when it started is lost, and its state RETRY, unless its
// handler finishes at once. Abort may be called at any time, from any goroutine, more
// than once.
func (w *Worker) Abort() { w.abortOnce.Do(func() { close(w.abort) }) }

// AbortNow is Abort, and does not wait for Config.SoftShutdownTimeout, or any longer for it.
func (w *Worker) AbortNow() {
	w.hurryOnce.Do(func() { close(w.hurry) })
	w.Abort()
}

// EndsBy tells until when Run has waited, or would have waited, for a broker or backend
// that cannot be reached. It is known when Run has returned: what is closed after it should
// be by then, too, so that the whole of a shutdown keeps within its time.
func (w *Worker) EndsBy() time.Time { return time.Unix(0, w.endsBy.Load()) }

// A cold shutdown leaves handlers abortGrace to return after their contexts were
// cancelled, and takes abortTimeout in all if the broker or the backend is away.
const (
	abortGrace   = 200 * time.Millisecond
	abortTimeout = 2 * time.Second
)

// boundEnd calls giveUp when a shutdown, which begins when claiming ends, has waited for
// long enough: a cold one has its time in all, a warm one as long as nothing is written and
// no handler runs. It returns when ctx is done.
func (w *Worker) boundEnd(ctx, claiming context.Context, giveUp func()) {
	const never = math.MaxInt64
	check := time.NewTimer(never)
	defer check.Stop()
	endWithin := func(d, look time.Duration) {
		w.endsBy.Store(time.Now().Add(d).UnixNano())
		check.Reset(look)
	}
	stopping, abort, hurry := claiming.Done(), w.abort, w.hurry
	var written int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			stopping = nil
			if abort != nil {
				endWithin(w.cfg.SettleTimeout, w.cfg.SettleTimeout/10)
			}
		case <-abort:
			abort = nil
			endWithin(w.cfg.SoftShutdownTimeout+abortTimeout, w.cfg.SoftShutdownTimeout+abortTimeout)
		case <-hurry:
			abort, hurry = nil, nil
			endWithin(abortTimeout, abortTimeout)
		case <-check.C:
			n := w.persister.done.Load()
			switch warm := abort != nil; {
			case warm && (n != written || w.runner.busy()):
				written = n
				endWithin(w.cfg.SettleTimeout, w.cfg.SettleTimeout/10)
			case time.Now().Before(w.EndsBy()):
				check.Reset(w.cfg.SettleTimeout / 10)
			default:
				giveUp()
			}
		}
	}
}

// awaitHandlers waits for the running handlers: until they are done, the shutdown
// timeout is over, or Abort is called. Those that it leaves behind go back to their queues
// behind what has not started, when that is returned.
func (w *Worker) awaitHandlers(ctx context.Context, finished, returned <-chan struct{}) {
	var deadline <-chan time.Time
	if w.cfg.ShutdownTimeout > 0 {
		deadline = time.After(w.cfg.ShutdownTimeout)
	}
	select {
	case <-finished:
		return
	case <-deadline:
		w.log.Warn(fmt.Sprintf("Handlers still run after %v: cancelling them", w.cfg.ShutdownTimeout),
			logline.EventKey, "Handlers still run: cancelling them", "timeout", w.cfg.ShutdownTimeout.Seconds())
		w.AbortNow()
	case <-w.abort:
		w.softShutdown(finished)
	}
	w.runner.aborted.Store(true)
	w.cancelTasks(tasks.ErrShutdown)
	select {
	case <-finished:
	case <-time.After(abortGrace):
	}
	<-returned
	w.abandonRunning(ctx)
}

// softShutdown lets handlers finish for a while before a cold shutdown cancels them.
func (w *Worker) softShutdown(finished <-chan struct{}) {
	if w.cfg.SoftShutdownTimeout == 0 || len(w.runner.active()) == 0 && !w.cfg.SoftShutdownOnIdle {
		return
	}
	w.log.Warn("Initiating Soft Shutdown, terminating in "+pythonNumber(w.cfg.SoftShutdownTimeout)+" seconds",
		logline.EventKey, "Initiating Soft Shutdown", "timeout", w.cfg.SoftShutdownTimeout.Seconds())
	select {
	case <-finished:
	case <-w.hurry:
	case <-time.After(w.cfg.SoftShutdownTimeout):
	}
}

// cutOff is the settlement of a task that a cold shutdown has stopped and whose message is
// gone from the queue. As in Celery (since 5.5), its state becomes RETRY, which tells
// clients that they wait in vain.
func (w *Worker) cutOff(r *request) settlement {
	exc := newException("celery.exceptions", "Retry", "cancelled by a cold shutdown")
	return settlement{req: r, record: w.record(r, recordOf{state: protocol.Retry, result: exc.Append(nil)}, r.storeErrors)}
}

// gaveUp is cutOff of a handler that has returned an error because it was told to end.
func (w *Worker) gaveUp(ctx context.Context, r *request) settlement {
	s := w.cutOff(r)
	w.hooks.taskPostrun(ctx, r, protocol.Retry, nil)
	return s
}
