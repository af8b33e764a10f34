package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func newTestShutdown() *shutdown {
	return newShutdown(&Config{SettleTimeout: 5 * time.Second, SoftShutdownTimeout: 3 * time.Second, Logger: noLog.Logger})
}

// A warm shutdown gives up when nothing is written and nothing runs for its time, a cold one
// after its time in all.
func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		begin func(*shutdown)
		least time.Duration
		most  time.Duration
	}{
		{"warm", func(*shutdown) {}, 14 * time.Second, 15 * time.Second}, // it is busy for 10
		{"cold", (*shutdown).begin, 5 * time.Second, 5 * time.Second},
		{"at once", (*shutdown).beginNow, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newTestShutdown()
				claiming, stop := context.WithCancel(t.Context())
				ctx, cancel := context.WithCancel(t.Context())
				start := time.Now()
				stop()
				test.begin(s)
				s.bound(ctx, claiming, func() int64 { return 0 }, func() bool { return time.Since(start) < 10*time.Second }, cancel)
				if took := time.Since(start); took < test.least || took > test.most {
					t.Errorf("it gave up after %v", took)
				}
				if late := time.Since(s.end()); late < 0 || late > time.Second {
					t.Errorf("that was %v after the end it tells", late)
				}
			})
		})
	}
}

// Handlers are waited for: by a warm shutdown until they are done or its time is over, by a
// cold one for the time of a soft one, if any run.
func TestShutdownWaitsForHandlers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		set     func(*shutdown)
		running int
		took    time.Duration
		waited  bool
		kind    string
	}{
		{"warm", func(*shutdown) {}, 1, time.Minute, true, "Warm"},
		{"warm, for a time", func(s *shutdown) { s.timeout = 7 * time.Second }, 1, 7 * time.Second, false, "Cold"},
		{"soft", (*shutdown).begin, 1, 3 * time.Second, false, "Cold"},
		{"soft, idle", (*shutdown).begin, 0, 0, false, "Cold"},
		{"soft, idle as well", func(s *shutdown) { s.softOnIdle = true; s.begin() }, 0, 3 * time.Second, false, "Cold"},
		{"at once", (*shutdown).beginNow, 1, 0, false, "Cold"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newTestShutdown()
				finished := make(chan struct{})
				time.AfterFunc(time.Minute, func() { close(finished) })
				told := 0
				defer s.onCold(func() { told++ })()
				start := time.Now()
				test.set(s)
				waited := s.wait(finished, func() int { return test.running })
				if took := time.Since(start); took != test.took || waited != test.waited || s.kind() != test.kind {
					t.Errorf("%s after %v, waited %t", s.kind(), took, waited)
				}
				if synctest.Wait(); told == 1 != (test.kind == "Cold") {
					t.Errorf("who waits for a cold shutdown was told %d times", told)
				}
			})
		})
	}
}
