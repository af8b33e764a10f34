package worker_test

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// leased is a consumer whose lease is what the test says.
type leased struct {
	broker.Consumer
	lease  atomic.Pointer[broker.Lease]
	lapsed chan struct{}
	beats  atomic.Int64

	beforeAck    func()
	beforeExtend func(tags []string) (lost []string)
}

func newLeased(inner broker.Consumer) *leased {
	l := &leased{Consumer: inner, lapsed: make(chan struct{}, 1)}
	l.set(1, time.Hour)
	return l
}

func (l *leased) set(term uint64, lasts time.Duration) {
	l.lease.Store(&broker.Lease{Term: term, Until: time.Now().Add(lasts)})
}

func (l *leased) Lease() broker.Lease       { return *l.lease.Load() }
func (l *leased) LeaseLasts() time.Duration { return time.Hour }
func (l *leased) Lapsed() <-chan struct{}   { return l.lapsed }
func (l *leased) Beat()                     { l.beats.Add(1) }

func (l *leased) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	ds, err := l.Consumer.Claim(ctx, limit)
	for i := range ds {
		ds[i].Term, ds[i].Claimed = l.Lease().Term, time.Now()
	}
	return ds, err
}

func (l *leased) Ack(ctx context.Context, tags ...string) ([]string, error) {
	if l.beforeAck != nil {
		l.beforeAck()
	}
	return l.Consumer.Ack(ctx, tags...)
}

func (l *leased) Extend(ctx context.Context, tags ...string) ([]string, error) {
	if l.beforeExtend != nil {
		if lost := l.beforeExtend(tags); lost != nil {
			return lost, nil
		}
	}
	return l.Consumer.Extend(ctx, tags...)
}

// A worker that was frozen, or cut off, starts nothing of what it holds before it has made
// sure of it; what was given to others meanwhile does not start at all.
func TestNothingStartsWithoutALease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		consumer := newLeased(b.broker.Consumer(queue))
		b.cfg.Consumer = consumer
		b.cfg.PrefetchMultiplier, b.cfg.Concurrency = 4, 1
		var ran []int
		b.reg.Register("app.late", func(n int) {
			ran = append(ran, n)
			time.Sleep(time.Second)
		}, tasks.AcksLate(true))
		for n := range 4 {
			b.send(canvas.Sig("app.late", n))
		}
		b.start()
		b.sleep(500 * time.Millisecond)
		consumer.set(1, 0) // the first runs; then the last beat is too old
		b.sleep(time.Minute)
		if len(ran) != 1 {
			t.Errorf("%v ran while the worker was cut off", ran)
		}
		if consumer.beats.Load() == 0 {
			t.Error("nobody asked for a sign of life")
		}
		var last string
		consumer.beforeExtend = func(tags []string) []string {
			if len(ran) != 1 {
				t.Errorf("%v ran before the leases were looked at", ran)
			}
			consumer.beforeExtend = nil
			last = tags[0]
			return tags[:1]
		}
		consumer.set(2, time.Hour)
		consumer.lapsed <- struct{}{}
		b.sleep(time.Minute)
		if len(ran) != 3 || last == "" {
			t.Errorf("%v ran, want all but one that was lost", ran)
		}
	})
}

// A handler whose message is acknowledged early starts when that is confirmed, not before.
func TestEarlyAcknowledgementComesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		consumer := newLeased(b.broker.Consumer(queue))
		b.cfg.Consumer = consumer
		acked := make(chan struct{})
		consumer.beforeAck = func() { <-acked }
		var ran atomic.Int64
		b.reg.Register("app.early", func() { ran.Add(1) })
		b.send(canvas.Sig("app.early"))
		b.start()
		b.sleep(time.Minute)
		if ran.Load() != 0 {
			t.Error("the handler ran before its message was acknowledged")
		}
		close(acked)
		b.sleep(time.Second)
		if ran.Load() != 1 {
			t.Errorf("%d runs", ran.Load())
		}
	})
}

// What was acknowledged for short tasks goes back if a long one comes in between: it does not
// wait behind that, and nothing of it is lost.
func TestAcceptedGoesBackWhenSlotsAreStuck(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		consumer := &slowAck{Consumer: b.broker.Consumer(queue), takes: 100 * time.Microsecond}
		b.cfg.Consumer = consumer
		b.cfg.Concurrency = 1
		var short, long atomic.Int64
		b.reg.Register("app.short", func() { short.Add(1) })
		b.reg.Register("app.long", func() {
			long.Add(1)
			time.Sleep(time.Hour)
		})
		const before, after = 500, 200
		for range before {
			b.send(canvas.Sig("app.short"))
		}
		b.send(canvas.Sig("app.long"))
		for range after {
			b.send(canvas.Sig("app.short"))
		}
		b.start()
		b.sleep(time.Minute)
		if short.Load() != before || long.Load() != 1 || consumer.most < 8 {
			t.Fatalf("%d short ones and %d long ones started, %d acknowledged at a time", short.Load(), long.Load(), consumer.most)
		}
		if consumer.returned == 0 {
			t.Error("nothing was given back")
		}
		reserved := b.w.Stats().Reserved
		b.wantQueued(after-reserved, reserved)
		b.sleep(2 * time.Hour)
		if n := short.Load(); n != before+after {
			t.Errorf("%d short ones ran, want %d", n, before+after)
		}
	})
}

// Where the limit was given, what was acknowledged for short tasks is held again if a long one comes in between: nobody sees that
// it was acknowledged, and it waits here, in its order. What was claimed meanwhile, and is above the limit, goes back.
func TestAcceptedIsHeldAgainWhenSlotsAreStuck(t *testing.T) {
	for before := 500; before < 508; before++ { // it may be any of those that are acknowledged together
		t.Run(strconv.Itoa(before), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				consumer := &slowAck{Consumer: b.broker.Consumer(queue), takes: 100 * time.Microsecond}
				b.cfg.Consumer, b.cfg.Concurrency, b.cfg.PrefetchMultiplier = consumer, 1, 8
				var ran []int
				b.reg.Register("app.short", func(n int) { ran = append(ran, n) }, tasks.Params("n"))
				b.reg.Register("app.long", func() { time.Sleep(time.Hour) })
				const after = 200
				var want []int
				for n := range before + after {
					if n == before {
						b.send(canvas.Sig("app.long"))
					}
					b.send(canvas.Sig("app.short", n))
					want = append(want, n)
				}
				b.start()
				b.sleep(time.Minute)
				if len(ran) != before || consumer.most < 4 || consumer.held == 0 || consumer.returned > 0 {
					t.Fatalf("%d ran, %d acknowledged at a time, %d held again, %d given back", len(ran), consumer.most, consumer.held, consumer.returned)
				}
				n := b.w.Stats().Reserved
				b.wantQueued(after-n, n)
				if n < 4 || n > 8 {
					t.Errorf("%d are reserved, want 4 to 8", n)
				}
				b.sleep(2 * time.Hour)
				if !slices.Equal(ran, want) {
					t.Errorf("%d ran, or in another order: %v", len(ran), ran)
				}
			})
		})
	}
}

// slowAck is a consumer whose acknowledgements take a while.
type slowAck struct {
	broker.Consumer
	takes          time.Duration
	most           int
	returned, held int
}

func (s *slowAck) Unwrap() broker.Consumer { return s.Consumer }

func (s *slowAck) Ack(ctx context.Context, tags ...string) ([]string, error) {
	time.Sleep(s.takes)
	s.most = max(s.most, len(tags))
	return s.Consumer.Ack(ctx, tags...)
}

func (s *slowAck) Return(ctx context.Context, ds ...broker.Delivery) error {
	s.returned += len(ds)
	return s.Consumer.(broker.Returner).Return(ctx, ds...)
}

func (s *slowAck) Hold(ctx context.Context, ds ...broker.Delivery) error {
	s.held += len(ds)
	return s.Consumer.(broker.Returner).Hold(ctx, ds...)
}

// TestGivenLimitCountsWhatIsAccepted: where the prefetch multiplier was given, short tasks are accepted together, too, and what may
// start counts until it does. What is being acknowledged does not: the next claim goes with the acknowledgement.
func TestGivenLimitCountsWhatIsAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		acks := &slowAck{Consumer: b.broker.Consumer(queue), takes: 100 * time.Microsecond}
		consumer := &unstarted{Consumer: acks}
		b.cfg.Consumer, b.cfg.Concurrency, b.cfg.PrefetchMultiplier = consumer, 2, 4
		b.reg.Register("app.short", func() { consumer.started.Add(1) })
		const n = 1000
		for range n {
			b.send(canvas.Sig("app.short"))
		}
		b.start()
		b.sleep(time.Minute)
		if got := consumer.started.Load(); got != n {
			t.Fatalf("%d of %d ran", got, n)
		}
		if limit := int64(2 * 4); acks.most < 4 || consumer.most <= limit+2 || consumer.most > 2*limit {
			t.Errorf("up to %d were acknowledged at a time, and %d had not started", acks.most, consumer.most)
		}
	})
}

// unstarted is a consumer that notes how much of what was claimed has not started.
type unstarted struct {
	broker.Consumer
	started atomic.Int64
	claimed int64
	most    int64
}

func (u *unstarted) Unwrap() broker.Consumer { return u.Consumer }

func (u *unstarted) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	ds, err := u.Consumer.Claim(ctx, limit)
	u.claimed += int64(len(ds))
	u.most = max(u.most, u.claimed-u.started.Load())
	return ds, err
}

// read calls a function when a message is read.
type read struct {
	*leased
	opened func()
}

func (r *read) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	ds, err := r.leased.Claim(ctx, limit)
	for i := range ds {
		open := ds[i].Open
		ds[i].Open = func(raw []byte, into *protocol.Received) {
			open(raw, into)
			r.opened()
		}
	}
	return ds, err
}

// A message may be lost while it is being read: nobody looks at its task then, as the race detector knows.
func TestLostWhileItIsRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		asked := make(chan struct{})
		consumer := &read{leased: newLeased(b.broker.Consumer(queue))}
		consumer.opened = func() {
			consumer.lapsed <- struct{}{}
			<-asked
		}
		consumer.beforeExtend = func(tags []string) []string {
			asked <- struct{}{}
			return tags
		}
		b.cfg.Consumer, b.cfg.Concurrency = consumer, 1
		b.reg.Register("app.late", func() { t.Error("it ran") }, tasks.AcksLate(true))
		b.send(canvas.Sig("app.late"))
		b.start()
		b.sleep(time.Minute)
	})
}

// A message that was lost while it waited for a slot does not count as held for ever: the
// worker goes on claiming.
func TestLostMessagesMakeRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		consumer := newLeased(b.broker.Consumer(queue))
		b.cfg.Consumer = consumer
		b.cfg.PrefetchMultiplier, b.cfg.Concurrency = 4, 1
		b.reg.Register("app.early", func() { time.Sleep(time.Second) })
		var ran atomic.Int64
		var lose atomic.Bool
		consumer.beforeExtend = func(tags []string) []string {
			if lose.Load() {
				return tags
			}
			return nil
		}
		b.reg.Register("app.late", func() { ran.Add(1) }, tasks.AcksLate(true))
		b.start()
		const prefetch = 4
		for round := range uint64(prefetch) {
			b.send(canvas.Sig("app.early"))
			for range prefetch {
				b.send(canvas.Sig("app.late"))
			}
			b.sleep(500 * time.Millisecond)
			lose.Store(true)
			consumer.set(round+2, time.Hour)
			consumer.lapsed <- struct{}{}
			b.sleep(time.Millisecond)
			if n := ran.Load(); n != 0 {
				t.Errorf("%d tasks ran while the slot was busy", n)
			}
			lose.Store(false)
			b.sleep(time.Minute)
			ran.Store(0)
		}
		for range prefetch {
			b.send(canvas.Sig("app.late"))
		}
		b.sleep(time.Minute)
		if n := ran.Load(); n != prefetch {
			t.Errorf("%d of %d tasks ran after messages had been lost", n, prefetch)
		}
	})
}

// An acknowledgement that is answered after a shutdown has cancelled the handlers is
// taken back: its task neither starts nor is lost.
func TestShutdownTakesBackWhatIsBeingAcknowledged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		consumer := &slowAck{Consumer: b.broker.Consumer(queue), takes: time.Second}
		b.cfg.Consumer = consumer
		var ran atomic.Int64
		b.reg.Register("app.early", func() { ran.Add(1) })
		b.send(canvas.Sig("app.early"))
		b.start()
		b.sleep(500 * time.Millisecond)
		b.w.Abort()
		b.stop()
		<-b.ended
		b.sleep(time.Second)
		if ran.Load() != 0 || consumer.returned != 1 {
			t.Errorf("%d runs, %d messages returned; want 0 and 1", ran.Load(), consumer.returned)
		}
		b.wantQueued(1, 0)
	})
}

// What was acknowledged for short tasks and has not started when a warm shutdown begins goes
// back, in its order: it does not wait for a long task that runs.
func TestWarmShutdownTakesBackWhatWasAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		consumer := &slowAck{Consumer: b.broker.Consumer(queue), takes: 100 * time.Microsecond}
		b.cfg.Consumer = consumer
		b.cfg.Concurrency = 1
		var ran []int
		b.reg.Register("app.short", func(n int) { ran = append(ran, n) })
		b.reg.Register("app.long", func() {
			time.Sleep(10 * consumer.takes) // what is to be accepted behind it now is
			b.stop()
			time.Sleep(time.Hour)
		})
		const before, after = 500, 100
		for n := range before {
			b.send(canvas.Sig("app.short", n))
		}
		b.send(canvas.Sig("app.long"))
		for n := range after {
			b.send(canvas.Sig("app.short", before+n))
		}
		b.start()
		<-b.ended
		if len(ran) != before || consumer.returned == 0 {
			t.Errorf("%d short ones ran, want %d; %d were returned", len(ran), before, consumer.returned)
		}
		b.wantQueued(after, 0)
		b.cfg.Consumer = b.broker.Consumer(queue)
		b.start()
		b.sleep(time.Minute)
		for i, n := range ran {
			if i != n {
				t.Fatalf("task %d ran in place %d", n, i)
			}
		}
		b.warm()
		<-b.ended
	})
}
