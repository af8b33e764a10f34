package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const expiredRecord = `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["expired"], "exc_module": "celery.exceptions"}`

// runs notes when a task runs, by the name it is given.
type runs struct {
	start time.Time
	mu    sync.Mutex
	at    map[string][]time.Duration
	order []string
}

func (b *bench) noteRuns(options ...tasks.Option) *runs {
	r := &runs{start: time.Now(), at: map[string][]time.Duration{}}
	b.reg.Register("app.note", r.note, options...)
	return r
}

func (r *runs) note(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at[name] = append(r.at[name], time.Since(r.start))
	r.order = append(r.order, name)
}

func (r *runs) count() (all, twice int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.at {
		all += len(at)
		twice += len(at) - 1
	}
	return all, twice
}

// wantOnce checks that a task ran once, not before its time and less than late after it.
func (r *runs) wantOnce(t *testing.T, name string, due, late time.Duration) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.at[name]; len(at) != 1 || at[0] < due || at[0] > due+late {
		t.Errorf("%s ran at %v, want once after %v", name, at, due)
	}
}

func note(name string, in time.Duration) canvas.Signature {
	return canvas.Sig("app.note", name).Set(canvas.Countdown(in))
}

// parked checks how many messages the broker keeps, and how many the worker holds.
func (b *bench) wantParked(parked, scheduled int) {
	b.t.Helper()
	if p, s := b.broker.Parked(), b.w.Stats().Scheduled; p != parked || s != scheduled {
		b.t.Errorf("%d messages are parked and %d in memory, want %d and %d", p, s, parked, scheduled)
	}
}

func (b *bench) countEvents(kind string) int {
	b.events.mu.Lock()
	defer b.events.mu.Unlock()
	n := 0
	for _, e := range b.events.seen {
		if e == kind {
			n++
		}
	}
	return n
}

func (b *bench) countLog(text string) int { return b.log.Count(text) }

// What is due far ahead is parked, what is due soon is held; both run once, on time, and
// are announced as received once.
func TestETAIsParkedOrHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.start()
		b.send(note("hour", time.Hour))
		b.send(note("soon", 9*time.Second))
		b.send(note("later", 11*time.Second))
		b.wantParked(2, 1)
		b.wantQueued(0, 1) // what is parked is nobody's
		b.sleep(9 * time.Second)
		b.wantParked(1, 1) // taken back before it is due
		b.sleep(2 * time.Hour)
		ran.wantOnce(t, "soon", 9*time.Second, time.Millisecond)
		ran.wantOnce(t, "later", 11*time.Second, time.Millisecond)
		ran.wantOnce(t, "hour", time.Hour, time.Millisecond)
		b.wantQueued(0, 0)
		b.wantParked(0, 0)
		if n := b.countEvents("received"); n != 3 {
			t.Errorf("%d received events of 3 tasks", n)
		}
		if n := b.countLog("] received"); n != 3 {
			t.Errorf("%d received lines of 3 tasks", n)
		}
	})
}

// A consumer that cannot park leaves everything in memory.
func TestETAWithoutParking(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.cfg.Consumer = noParking{b.broker.Consumer(queue)}
		b.start()
		b.send(note("hour", time.Hour))
		b.wantParked(0, 1)
		b.sleep(2 * time.Hour)
		ran.wantOnce(t, "hour", time.Hour, time.Millisecond)
	})
}

// noParking is a Parker in name, as redisbroker without ack emulation is.
type noParking struct{ broker.Consumer }

func (noParking) Park(context.Context, ...broker.Parked) ([]string, error) {
	return nil, errors.ErrUnsupported
}

func (noParking) Due(context.Context, time.Time, int) ([]broker.Delivery, error) {
	return nil, errors.ErrUnsupported
}

// lateRefusal finds out that it cannot park when it is to.
type lateRefusal struct{ broker.Consumer }

func (lateRefusal) Park(_ context.Context, parked ...broker.Parked) ([]string, error) {
	if len(parked) == 0 {
		return nil, nil
	}
	return nil, errors.ErrUnsupported
}

// What could not be parked after all is held, and waits in memory, as what follows does.
func TestParkingRefusedLate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.cfg.Consumer = lateRefusal{b.broker.Consumer(queue)}
		b.start()
		b.send(note("hour", time.Hour))
		b.wantParked(0, 1)
		b.send(note("two", 2*time.Hour))
		b.wantParked(0, 2)
		b.wantQueued(0, 2)
		b.sleep(3 * time.Hour)
		ran.wantOnce(t, "hour", time.Hour, time.Millisecond)
		ran.wantOnce(t, "two", 2*time.Hour, time.Millisecond)
		b.wantQueued(0, 0)
	})
}

// Parked tasks that expired or were revoked meanwhile do not run.
func TestParkedAndThenNotRun(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.start()
		b.send(note("runs", time.Hour))
		stale := note("stale", time.Hour)
		stale = stale.Set(canvas.ExpiresAt(time.Now().Add(time.Minute)))
		expired := b.send(stale)
		revoked := b.send(note("revoked", time.Hour))
		b.wantParked(3, 0)
		b.sleep(2 * time.Minute)
		b.wantResult(expired, "") // as in Celery, which looks when it is due
		b.w.Operations().Revoke(t.Context(), revoked)
		const revokedRecord = `REVOKED {"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"}`
		b.wantResult(revoked, revokedRecord)
		b.sleep(time.Millisecond)
		b.wantParked(2, 0)
		b.sleep(2 * time.Hour)
		b.wantResult(expired, expiredRecord)
		b.wantResult(revoked, revokedRecord)
		b.wantQueued(0, 0)
		b.wantParked(0, 0)
		b.wantLog("Discarding revoked task: app.note[" + expired + "]")
		b.wantLog("Discarding revoked task: app.note[" + revoked + "]")
		if all, _ := ran.count(); all != 1 {
			t.Errorf("%d tasks ran, want 1", all)
		}
		if n := b.countEvents("received"); n != 3 {
			t.Errorf("%d received events of 3 tasks", n)
		}
	})
}

// A revocation outlives what is remembered of it: a parked task that is due later does not run.
func TestRevokedLongBeforeItIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.start()
		revoked := b.send(note("revoked", 24*time.Hour))
		b.send(note("runs", 24*time.Hour))
		b.w.Operations().Revoke(t.Context(), "nobody", revoked)
		b.sleep(25 * time.Hour)
		if all, _ := ran.count(); all != 1 || len(ran.at["revoked"]) > 0 {
			t.Errorf("%d tasks ran, the revoked one %d times", all, len(ran.at["revoked"]))
		}
	})
}

// A task revoked between the gate and the broker's keeping is not forgotten there.
func TestRevokedOnItsWayToBeParked(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		consumer := b.broker.Consumer(queue)
		var ids []string
		b.cfg.Consumer = &parkHook{consumer, consumer.(broker.Parker), consumer.(broker.Recaller), func() { b.w.Operations().Revoke(t.Context(), ids...) }}
		ids = append(ids, b.send(note("revoked", 24*time.Hour)))
		b.send(note("runs", 24*time.Hour))
		b.start()
		b.sleep(25 * time.Hour)
		if all, _ := ran.count(); all != 1 || len(ran.at["revoked"]) > 0 {
			t.Errorf("%d tasks ran, the revoked one %d times", all, len(ran.at["revoked"]))
		}
		b.wantQueued(0, 0)
	})
}

// parkHook calls before when messages are about to be parked.
type parkHook struct {
	broker.Consumer
	broker.Parker
	broker.Recaller
	before func()
}

func (p *parkHook) Park(ctx context.Context, parked ...broker.Parked) ([]string, error) {
	if len(parked) > 0 {
		p.before()
	}
	return p.Parker.Park(ctx, parked...)
}

// Memory holds no more than ETATaskLimit, however near they are due and even when all
// are due at the same moment; each runs once.
func TestETATaskLimit(t *testing.T) {
	for _, in := range []time.Duration{5 * time.Second, time.Hour} {
		t.Run(in.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				const n, most = 500, 20
				ran := b.noteRuns()
				b.reg.Register("app.slow", func(name string) { ran.note(name); time.Sleep(10 * time.Millisecond) })
				b.cfg.ETATaskLimit, b.cfg.PrefetchMultiplier, b.cfg.Concurrency = most, 1, 2
				for i := range n {
					b.send(canvas.Sig("app.slow", fmt.Sprint(i)).Set(canvas.Countdown(in)))
				}
				b.start()
				held := 0
				for range 2000 {
					b.sleep(10 * time.Millisecond)
					s := b.w.Stats()
					held = max(held, s.Scheduled+s.Reserved)
				}
				b.sleep(2 * time.Hour)
				if all, twice := ran.count(); all != n || twice != 0 {
					t.Errorf("%d runs of %d tasks, %d of them twice", all, n, twice)
				}
				if held > most+2 {
					t.Errorf("%d requests were in memory, more than %d", held, most)
				}
				b.wantQueued(0, 0)
				b.wantParked(0, 0)
			})
		})
	}
}

// What is due soon waits in memory, however much comes due at once, and starts on time without a look at the broker.
func TestManyWaitInMemoryBeforeTheyAreDue(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const n = 12_000
		ran := b.noteRuns()
		for i := range n {
			b.send(note(fmt.Sprint(i), time.Hour))
		}
		b.start()
		b.wantParked(n, 0)
		b.sleep(time.Hour - time.Second)
		b.wantParked(0, n)
		b.sleep(2 * time.Second)
		for i := range n {
			ran.wantOnce(t, fmt.Sprint(i), time.Hour, time.Millisecond)
		}
		b.wantQueued(0, 0)
	})
}

// slowBack is a consumer that takes a millisecond for each message that goes back.
type slowBack struct{ broker.Consumer }

func (s *slowBack) Unwrap() broker.Consumer { return s.Consumer }

func (s *slowBack) Requeue(ctx context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(len(deliveries)) * time.Millisecond):
		return s.Consumer.Requeue(ctx, place, deliveries...)
	}
}

// A warm shutdown gives back all that waits in memory, in order, as long as it gets on: here for longer than it waits for a broker that
// cannot be reached.
func TestShutdownWithManyInMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const n = 12_000
		ran := b.noteRuns()
		b.cfg.Consumer = &slowBack{b.broker.Consumer(queue)}
		for i := range n {
			b.send(note(fmt.Sprint(i), 8*time.Second))
		}
		b.start()
		b.wantParked(0, n)
		b.warm()
		<-b.ended
		if queued, leased := b.broker.Len(queue), b.broker.Leased(); queued != n || leased != 0 {
			t.Errorf("%d messages are back, and %d are not", queued, leased)
		}
		if all, _ := ran.count(); all != 0 {
			t.Errorf("%d ran before their time", all)
		}
		b.cfg.Consumer = nil
		b.start()
		b.sleep(time.Minute)
		if all, twice := ran.count(); all != n || twice != 0 {
			t.Fatalf("%d ran, %d of them twice", all, twice)
		}
		if first, last := ran.order[0], ran.order[n-1]; first != "0" || last != fmt.Sprint(n-1) {
			t.Errorf("the first was %s and the last %s", first, last)
		}
	})
}

// Two workers share what is parked, and nothing runs twice.
func TestParkedMessagesOfTwoWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const n = 300
		ran := b.noteRuns()
		for i := range n {
			b.send(note(fmt.Sprint(i), time.Hour+time.Duration(i)*100*time.Millisecond))
		}
		b.cfg.ETATaskLimit = 20 // so that neither can take all that will be due in a moment
		b.start()
		other := b.cfg
		other.Consumer, other.Hostname = b.broker.Consumer(queue), "celery@other"
		second, err := worker.New(other)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = second.Run(ctx) }()
		b.sleep(time.Hour + 10*time.Second)
		stop()
		<-ended // what it held goes back
		b.sleep(time.Minute)
		for i := range n {
			ran.wantOnce(t, fmt.Sprint(i), time.Hour+time.Duration(i)*100*time.Millisecond, time.Second)
		}
		if _, all := second.Totals(); all == 0 {
			t.Error("the second worker ran none")
		}
	})
}

// A shutdown with tasks that are parked, held, limited and running: what ran and what is
// left is what was sent.
func TestShutdownWithEverythingInHand(t *testing.T) {
	for _, how := range []string{"warm", "cold"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				ran := b.noteRuns()
				b.reg.Register("app.limited", func(name string) { ran.note(name) }, tasks.RateLimit("1/m"))
				b.reg.Register("app.slow", func(name string) { ran.note(name); time.Sleep(time.Minute) })
				b.cfg.Unknown = tasks.UnknownPolicy{Action: tasks.UnknownLeave}
				b.start()
				sent := 0
				send := func(task string, n int, in time.Duration) {
					for range n {
						b.send(canvas.Sig(task, fmt.Sprint(sent)).Set(canvas.Countdown(in)))
						sent++
					}
				}
				send("app.note", 20, time.Hour)
				send("app.note", 20, 5*time.Second)
				send("app.limited", 20, 0)
				send("app.slow", 20, 0)
				send("no.such", 20, 0)
				b.sleep(1500 * time.Millisecond)
				if how == "cold" {
					b.w.Abort()
				} else {
					b.warm()
				}
				<-b.ended
				all, twice := ran.count()
				if left := b.broker.Len(queue) + b.broker.Parked(); all+left != sent || twice != 0 {
					t.Errorf("%d ran (%d twice) and %d are left of %d", all, twice, left, sent)
				}
				if n := b.broker.Leased(); n != 0 {
					t.Errorf("%d messages are still leased", n)
				}
				if n := b.broker.Parked(); n != 20 {
					t.Errorf("%d messages are parked, want those due in an hour", n)
				}
				b.sleep(2 * time.Minute) // what was cut off by the cold shutdown returns at last
			})
		})
	}
}

// ParkAfter below the time that is looked ahead must not park what was just taken back.
func TestParkingThreshold(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.cfg.ParkAfter = 100 * time.Millisecond
		spy := &spy{Consumer: b.broker.Consumer(queue)}
		b.cfg.Consumer = spy
		b.start()
		b.send(note("a", time.Hour))
		b.wantParked(1, 0)
		b.sleep(2 * time.Hour)
		ran.wantOnce(t, "a", time.Hour, time.Second)
		if spy.parks != 1 {
			t.Errorf("parked %d times", spy.parks)
		}
	})
}

// spy is a consumer that notes what it is asked for.
type spy struct {
	broker.Consumer
	mu     sync.Mutex
	claims []int // how many messages each claim brought
	parks  int   // messages that were parked
	early  int   // as long as no more were parked, what is parked comes back an hour early
}

func (s *spy) Unwrap() broker.Consumer { return s.Consumer }

func (s *spy) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	ds, err := s.Consumer.Claim(ctx, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ds) > 0 {
		s.claims = append(s.claims, len(ds))
	}
	return ds, err
}

func (s *spy) Park(ctx context.Context, parked ...broker.Parked) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parks += len(parked)
	return s.Consumer.(broker.Parker).Park(ctx, parked...)
}

func (s *spy) Due(ctx context.Context, until time.Time, limit int) ([]broker.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parks < s.early {
		until = until.Add(time.Hour)
	}
	return s.Consumer.(broker.Unparker).Due(ctx, until, limit)
}

// claimed returns how many claims there were since the last call, and their messages.
func (s *spy) claimed() (claims, messages, largest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.claims {
		messages += n
		largest = max(largest, n)
	}
	claims, s.claims = len(s.claims), nil
	return claims, messages, largest
}

// A long queue of tasks that are due later is claimed in ever larger groups, and work
// behind it starts soon.
func TestManyETATasksAreClaimedTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const n = 3000
		ran := b.noteRuns()
		spy := &spy{Consumer: b.broker.Consumer(queue)}
		b.cfg.Consumer = spy
		for i := range n {
			b.send(note(fmt.Sprint(i), time.Hour))
		}
		b.send(note("now", 0))
		b.start()
		ran.wantOnce(t, "now", 0, time.Second)
		if claims, _, largest := spy.claimed(); claims > 25 || largest > 512 {
			t.Errorf("%d claims, of up to %d messages", claims, largest)
		}
		b.wantParked(n, 0)
	})
}

// The broker's clock and the worker's, or two workers': a message that comes back before
// its time waits again, and never runs early.
func TestBackTooEarly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		ran := b.noteRuns()
		b.cfg.Consumer = &spy{Consumer: b.broker.Consumer(queue), early: 5}
		b.start()
		b.send(note("a", time.Hour))
		b.sleep(time.Minute)
		if all, _ := ran.count(); all != 0 {
			t.Error("it ran an hour early")
		}
		b.sleep(2 * time.Hour)
		ran.wantOnce(t, "a", time.Hour, time.Second)
	})
}
