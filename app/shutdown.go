package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/logline"
)

const (
	// coldTime is what a cold shutdown may take, after the soft one.
	coldTime = 2 * time.Second
	// hardAfter is how long Run waits in all, whatever holds it up.
	hardAfter = 3 * time.Second
)

// ending is how a worker was told to end, and by when it has to.
type ending struct {
	cold, hurried     context.Context //nolint:containedctx // done: Abort, AbortNow
	goCold, goHurried context.CancelFunc
	softTime          time.Duration // how long a soft shutdown takes

	closeBy atomic.Int64 // see closing; Unix nanoseconds, 0: not known
}

func newEnding() *ending {
	e := &ending{}
	e.cold, e.goCold = context.WithCancel(context.Background())
	e.hurried, e.goHurried = context.WithCancel(context.Background())
	return e
}

// await waits for the end of what serves. It calls stop after Abort, and does not wait for
// longer than a cold shutdown may take.
func (e *ending) await(ended <-chan error, stop func()) error {
	var hard <-chan time.Time
	cold, hurried := e.cold.Done(), e.hurried.Done()
	for {
		select {
		case err := <-ended:
			return err
		case <-hurried:
			hurried, cold = nil, nil
			stop()
			hard = time.After(hardAfter)
		case <-cold:
			cold = nil
			stop()
			hard = time.After(e.softTime + hardAfter)
		case <-hard:
			return ErrHardShutdown
		}
	}
}

// closing bounds what is still said to the broker when tasks have ended.
func (e *ending) closing() (context.Context, context.CancelFunc) {
	by := time.Now().Add(coldTime)
	if told := e.closeBy.Load(); told != 0 {
		by = time.Unix(0, told)
	}
	ctx, cancel := context.WithDeadline(context.Background(), by)
	stop := context.AfterFunc(e.cold, func() { time.AfterFunc(coldTime, cancel) })
	return ctx, func() { stop(); cancel() }
}

// whileClosing closes something within the time there is for it. What is left in the broker
// is handed back by other workers.
func (w *Worker) whileClosing(end func(context.Context) error) {
	ctx, cancel := w.ending.closing()
	defer cancel()
	if err := end(ctx); err != nil {
		w.log.Error("Left without saying so: "+err.Error(), logline.EventKey, "Left without saying so", "error", err.Error())
	}
}

// beside runs something on a goroutine of its own; the returned function waits for its end.
func beside(run func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	return func() { <-done }
}

// waitFor calls wait, which is left to itself when ctx is done.
func waitFor(ctx context.Context, wait func()) error {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the last events: %w", ctx.Err())
	}
}

// unlessDone is err, or nil if it came while the worker was being stopped.
func unlessDone(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}
