package beat_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/broker"
)

// TestTwoBeats: one sends and the other stands by, until the first has ended.
func TestTwoBeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 5*time.Second)})
		r.slots = &ledger{LocalSlots: r.slots.(*beat.LocalSlots)}
		one, stopOne := r.beat()
		time.Sleep(time.Second)
		two, stopTwo := r.beat(func(c *beat.Config) { c.Node = "celerybeat@there" })
		time.Sleep(10 * time.Second)
		if !one.Leads() || two.Leads() || two.Ticked().IsZero() {
			t.Error("the first beat does not lead, or the second one does")
		}
		stopOne()
		time.Sleep(10 * time.Second)
		if !two.Leads() {
			t.Error("the second beat does not lead")
		}
		stopTwo()
		r.want("t.a", 5, 10, 15, 20)
		if !strings.Contains(r.log.String(), "this beat stands by") {
			t.Errorf("log: %s", r.log)
		}
	})
}

// TestDeposed: a beat that was not there for a while sends nothing that another one has sent.
func TestDeposed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 4*time.Second)})
		all := &ledger{LocalSlots: r.slots.(*beat.LocalSlots)}
		r.slots = all
		_, stopOne := r.beat()
		time.Sleep(5 * time.Second)
		_, stopTwo := r.beat(func(c *beat.Config) { c.Node = "celerybeat@there" })
		for range 5 {
			time.Sleep(5 * time.Second)
			all.depose()
		}
		stopOne()
		stopTwo()
		r.want("t.a", 4, 8, 12, 16, 20, 24, 28)
	})
}

// TestOtherProject: a beat that waits for one with quite another schedule says so.
func TestOtherProject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 4*time.Second)})
		r.slots = &ledger{LocalSlots: r.slots.(*beat.LocalSlots)}
		_, stopOne := r.beat()
		time.Sleep(5 * time.Second)
		r.source = &shelf{entries: []*beat.Entry{{Name: "b", Task: "t.b", Schedule: every(t, 4*time.Second)}}}
		_, stopTwo := r.beat()
		time.Sleep(5 * time.Second)
		stopTwo()
		stopOne()
		if n := strings.Count(r.log.String(), "knows none of the entries"); n != 1 {
			t.Errorf("it was said %d times: %s", n, r.log)
		}
	})
}

// ledger is slots with one leader at a time.
type ledger struct {
	*beat.LocalSlots
	mu     sync.Mutex
	leader string
	until  time.Time
}

func (l *ledger) Lead(_ context.Context, _, node string, lasts time.Duration) (string, time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader == "" || l.leader == node || !time.Now().Before(l.until) {
		l.leader, l.until = node, time.Now().Add(lasts)
	}
	return l.leader, time.Until(l.until), nil
}

func (l *ledger) Resign(_ context.Context, _, node string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leader == node {
		l.leader = ""
	}
	return nil
}

func (l *ledger) depose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leader = ""
}

func (l *ledger) Take(ctx context.Context, schedule, node string, turns ...broker.Turn) ([]broker.Taken, error) {
	l.mu.Lock()
	leader := l.leader
	l.mu.Unlock()
	if leader != node {
		return nil, &broker.DeposedError{Leader: leader}
	}
	return l.LocalSlots.Take(ctx, schedule, node, turns...)
}
