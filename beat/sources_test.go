package beat_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/broker"
)

// TestRunsOfPythonsBeat: what somebody else has sent since is not sent again.
func TestRunsOfPythonsBeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		entry := &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 20*time.Second)}
		r := newRig(t, entry)
		_, stop := r.beat()
		time.Sleep(21 * time.Second)
		stop()
		time.Sleep(39 * time.Second)
		ran := *entry
		ran.LastRunAt, ran.TotalRunCount = time.Now(), 7
		r.source.set(&ran)
		_, stop = r.beat()
		time.Sleep(25 * time.Second)
		stop()
		r.want("t.a", 20, 80)
		if last := r.source.ran[len(r.source.ran)-1]; last.Count != 8 {
			t.Errorf("%d runs, want 8", last.Count)
		}
	})
}

// TestSourceAway: entries that were read once run on, and what was sent is told when the source is back.
func TestSourceAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 5*time.Second)})
		r.source.fail(fmt.Errorf("the database is away"))
		_, stop := r.beat()
		time.Sleep(3 * time.Second)
		r.source.fail(nil)
		time.Sleep(4 * time.Second)
		r.source.fail(fmt.Errorf("the database is away"))
		time.Sleep(10 * time.Second)
		if n := len(r.out.all()); n < 2 {
			t.Errorf("%d runs while the source was away", n)
		}
		r.source.fail(nil)
		time.Sleep(2 * time.Second)
		stop()
		if n := len(r.out.all()); len(r.source.ran) == 0 || r.source.ran[len(r.source.ran)-1].Count != n {
			t.Errorf("%d runs, the source was told %+v", n, r.source.ran)
		}
		if !strings.Contains(r.log.String(), "shelf: load: the database is away") || !strings.Contains(r.log.String(), "works again after") {
			t.Errorf("log: %s", r.log)
		}
	})
}

// slow are slots that need a second, and end the beat meanwhile.
type slow struct {
	*beat.LocalSlots
	stop context.CancelFunc
}

func (s *slow) Take(ctx context.Context, schedule, node string, turns ...broker.Turn) ([]broker.Taken, error) {
	if len(turns[0].Publish) > 0 {
		s.stop()
		time.Sleep(time.Second)
	}
	return s.LocalSlots.Take(ctx, schedule, node, turns...)
}

// TestStopWhileSending: a source hears of the run that was on its way when the beat was ended.
func TestStopWhileSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 5*time.Second)})
		ctx, stop := context.WithCancel(t.Context())
		slots := &slow{r.slots.(*beat.LocalSlots), stop}
		b, end := r.beat(func(c *beat.Config) { c.Slots = slots })
		end()
		b.Run(ctx)
		r.want("t.a", 6)
		if len(r.source.ran) != 1 || r.source.ran[0].Count != 1 {
			t.Errorf("the source was told %+v", r.source.ran)
		}
	})
}

// locked is a source with a lock.
type locked struct {
	*shelf
	mu      sync.Mutex
	another bool // somebody else has it
	held    bool
}

func (l *locked) Lock(context.Context) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = !l.another
	return l.held, nil
}

func (l *locked) Unlock(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	return nil
}

func (l *locked) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

func (l *locked) setAnother(has bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.another = has
}

// TestLockOfASource: entries run only while their source's lock is held; the lock is freed at the end.
func TestLockOfASource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, time.Second)})
		source := &locked{shelf: r.source, another: true}
		_, stop := r.beat(func(c *beat.Config) { c.Sources = []beat.Source{source} })
		time.Sleep(10 * time.Second)
		r.want("t.a")
		source.setAnother(false)
		time.Sleep(10 * time.Second)
		if n := len(r.out.all()); n < 7 {
			t.Errorf("%d runs with the lock", n)
		}
		source.setAnother(true)
		time.Sleep(6 * time.Second)
		before := len(r.out.all())
		time.Sleep(5 * time.Second)
		if n := len(r.out.all()); n != before {
			t.Errorf("%d runs without the lock", n-before)
		}
		source.setAnother(false)
		time.Sleep(5 * time.Second)
		stop()
		if source.isHeld() {
			t.Error("the lock was not freed")
		}
	})
}

// endless is a source that does not answer once it is locked.
type endless struct{ *locked }

func (e endless) Load(ctx context.Context) ([]*beat.Entry, error) {
	if e.isHeld() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return e.shelf.Load(ctx)
}

// TestLockOfASourceThatHangs: the lock is freed even if nothing was ever done with it.
func TestLockOfASourceThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 5*time.Second)})
		source := endless{&locked{shelf: r.source}}
		_, stop := r.beat(func(c *beat.Config) { c.Sources = []beat.Source{source} })
		time.Sleep(11 * time.Second)
		if !source.isHeld() {
			t.Error("it was never locked")
		}
		stop()
		if r.want("t.a"); source.isHeld() {
			t.Error("the lock was not freed")
		}
	})
}

// TestLockThatWasAnothers: what whoever had the lock has sent is known before anything is sent.
func TestLockThatWasAnothers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		entry := &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 10*time.Second)}
		r := newRig(t, entry)
		source := &locked{shelf: r.source, another: true}
		_, stop := r.beat(func(c *beat.Config) { c.Sources, c.Poll = []beat.Source{source}, time.Hour })
		time.Sleep(60500 * time.Millisecond)
		ran := *entry
		ran.LastRunAt = time.Now()
		r.source.set(&ran)
		source.setAnother(false)
		time.Sleep(15 * time.Second)
		stop()
		r.want("t.a", 70.5)
	})
}

// recorded is a source that records runs, in a database that has its lock as well.
type recorded struct{ *locked }

func (r recorded) Record(run beat.Run) *broker.Beside {
	return &broker.Beside{Lock: "lock", Commands: [][]string{{"SET", run.Entry.Name, fmt.Sprint(run.Count)}}}
}

// withLock are slots that look at that lock.
type withLock struct {
	*beat.LocalSlots
	another  atomic.Bool // somebody else has it
	commands [][]string
}

func (w *withLock) Take(ctx context.Context, schedule, node string, turns ...broker.Turn) ([]broker.Taken, error) {
	for _, turn := range turns {
		switch {
		case turn.Beside == nil: // it notes what is new
		case w.another.Load():
			return []broker.Taken{{Locked: true}}, nil
		default:
			w.commands = append(w.commands, turn.Beside.Commands...)
		}
	}
	return w.LocalSlots.Take(ctx, schedule, node, turns...)
}

// TestRecorder: runs are written along with their messages, and nothing is sent if the lock turns out to be
// another's by then.
func TestRecorder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 10*time.Second)})
		source := recorded{&locked{shelf: r.source}}
		slots := &withLock{LocalSlots: r.slots.(*beat.LocalSlots)}
		_, stop := r.beat(func(c *beat.Config) { c.Sources, c.Slots = []beat.Source{source}, slots })
		time.Sleep(15 * time.Second)
		source.setAnother(true)
		slots.another.Store(true)
		time.Sleep(4999 * time.Millisecond)
		source.setAnother(false) // who asks for the lock at 20 s gets it; who sends then, finds that it is not
		time.Sleep(10 * time.Second)
		r.want("t.a", 10)
		slots.another.Store(false)
		time.Sleep(5 * time.Second)
		stop()
		if n := len(r.out.all()); n != 2 || len(slots.commands) != 2 || slots.commands[1][2] != "2" {
			t.Errorf("%d runs, commands %q", n, slots.commands)
		}
		if n := strings.Count(r.log.String(), "somebody else has the lock"); n < 1 || n > 8 {
			t.Errorf("%d times in the log: somebody else has the lock", n)
		}
	})
}

// TestEarlierSourcesCount: an entry of the first source hides that of the second, even if it is disabled.
func TestEarlierSourcesCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.first", Schedule: every(t, 5*time.Second)}, &beat.Entry{Name: "off", Disabled: true})
		second := &shelf{entries: []*beat.Entry{
			{Name: "a", Task: "t.second", Schedule: every(t, 5*time.Second)},
			{Name: "off", Task: "t.off", Schedule: every(t, 5*time.Second)},
			{Name: "b", Task: "t.b", Schedule: every(t, 5*time.Second)},
		}}
		_, stop := r.beat(func(c *beat.Config) { c.Sources = append(c.Sources, second) })
		time.Sleep(6 * time.Second)
		stop()
		r.want("t.first", 5)
		r.want("t.b", 5)
		r.want("t.second")
		r.want("t.off")
		if len(second.ran) != 1 || second.ran[0].Entry.Name != "b" {
			t.Errorf("the second source was told %+v", second.ran)
		}
	})
}
