package worker

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/logline"
)

// shutdown is how a worker ends, and until when it waits for what. A warm one, which ends
// claiming, waits for handlers; a cold one does not.
type shutdown struct {
	timeout    time.Duration // a warm one becomes cold after it; 0: it does not
	soft       time.Duration // a cold one waits for handlers so long
	softOnIdle bool          // and also if there are none
	settling   time.Duration // a warm one waits for broker and backend so long
	log        taskLog

	cold      chan struct{} // closed by begin
	coldOnce  sync.Once
	hurry     chan struct{} // closed by beginNow
	hurryOnce sync.Once
	endsBy    atomic.Int64 // Unix nanoseconds
}

func newShutdown(cfg *Config) *shutdown {
	return &shutdown{
		timeout: cfg.ShutdownTimeout, soft: cfg.SoftShutdownTimeout, softOnIdle: cfg.SoftShutdownOnIdle, settling: cfg.SettleTimeout,
		log: taskLog{cfg.Logger}, cold: make(chan struct{}), hurry: make(chan struct{}),
	}
}

// begin begins a cold shutdown.
func (s *shutdown) begin() { s.coldOnce.Do(func() { close(s.cold) }) }

// beginNow begins a cold shutdown that does not wait for handlers.
func (s *shutdown) beginNow() {
	s.hurryOnce.Do(func() { close(s.hurry) })
	s.begin()
}

// kind is what Celery calls the shutdown that has begun.
func (s *shutdown) kind() string {
	select {
	case <-s.cold:
		return "Cold"
	default:
		return "Warm"
	}
}

// onCold calls f when a cold shutdown begins, until the returned function is called.
func (s *shutdown) onCold(f func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-s.cold:
			f()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// end is until when the worker waits, or would have waited, for a broker or backend that
// cannot be reached.
func (s *shutdown) end() time.Time { return time.Unix(0, s.endsBy.Load()) }

// A cold shutdown leaves handlers coldGrace to return after their contexts were
// cancelled, and takes coldTimeout in all if the broker or the backend is away.
const (
	coldGrace   = 200 * time.Millisecond
	coldTimeout = 2 * time.Second
)

// bound calls giveUp when a shutdown, which begins when claiming ends, has waited for long
// enough: a cold one has its time in all, a warm one as long as written does not grow and
// nothing is busy. It returns when ctx is done.
func (s *shutdown) bound(ctx, claiming context.Context, written func() int64, busy func() bool, giveUp func()) {
	const never = math.MaxInt64
	check := time.NewTimer(never)
	defer check.Stop()
	endWithin := func(d, look time.Duration) {
		s.endsBy.Store(time.Now().Add(d).UnixNano())
		check.Reset(look)
	}
	stopping, cold, hurry := claiming.Done(), s.cold, s.hurry
	var seen int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			stopping = nil
			if cold != nil {
				endWithin(s.settling, s.settling/10)
			}
		case <-cold:
			cold = nil
			endWithin(s.soft+coldTimeout, s.soft+coldTimeout)
		case <-hurry:
			cold, hurry = nil, nil
			endWithin(coldTimeout, coldTimeout)
		case <-check.C:
			n := written()
			switch warm := cold != nil; {
			case warm && (n != seen || busy()):
				seen = n
				endWithin(s.settling, s.settling/10)
			case time.Now().Before(s.end()):
				check.Reset(s.settling / 10)
			default:
				giveUp()
			}
		}
	}
}

// wait waits until handlers are done. It reports false if some are not to be waited for any
// more: the time is over, or the shutdown is cold.
func (s *shutdown) wait(finished <-chan struct{}, running func() int) bool {
	var deadline <-chan time.Time
	if s.timeout > 0 {
		deadline = time.After(s.timeout)
	}
	select {
	case <-finished:
		return true
	case <-deadline:
		s.log.Warn(fmt.Sprintf("Handlers still run after %v: cancelling them", s.timeout),
			logline.EventKey, "Handlers still run: cancelling them", "timeout", s.timeout.Seconds())
		s.beginNow()
	case <-s.cold:
		s.waitSoftly(finished, running)
	}
	return false
}

// waitSoftly lets handlers finish for a while before a cold shutdown cancels them.
func (s *shutdown) waitSoftly(finished <-chan struct{}, running func() int) {
	if s.soft == 0 || running() == 0 && !s.softOnIdle {
		return
	}
	s.log.Warn("Initiating Soft Shutdown, terminating in "+pythonNumber(s.soft)+" seconds",
		logline.EventKey, "Initiating Soft Shutdown", "timeout", s.soft.Seconds())
	select {
	case <-finished:
	case <-s.hurry:
	case <-time.After(s.soft):
	}
}
