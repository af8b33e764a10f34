package worker

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestPersist: it is tried again ever more rarely, less rarely once the worker stops, and until
// the context is done.
func TestPersist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopping := make(chan struct{})
		p := &persister{log: taskLog{slog.New(slog.DiscardHandler)}, stopping: stopping}
		calls := 0
		failing := func() error { calls++; return errGone }
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		go func() { time.Sleep(5 * time.Minute); close(stopping) }()
		start := time.Now()
		if p.persist(ctx, "do it", failing) {
			t.Error("it never succeeded")
		}
		if d := time.Since(start); d != 10*time.Minute {
			t.Errorf("gave up after %v", d)
		}
		// 5 minutes at 2.5 to 7.5 s, then 5 minutes at 0.25 to 0.75 s
		if calls < 40+400 || calls > 140+1300 {
			t.Errorf("%d calls", calls)
		}
		if p.done.Load() != 0 {
			t.Error("it counts as done")
		}
		calls = 0
		if !p.persist(t.Context(), "do it", func() error {
			if calls++; calls < 3 {
				return errGone
			}
			return nil
		}) || calls != 3 || p.done.Load() != 1 {
			t.Errorf("%d calls, %d done", calls, p.done.Load())
		}
	})
}
