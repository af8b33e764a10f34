package unique_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.uber.org/goleak"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/unique"
	"github.com/apium/apium/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const price = "shop.tasks.price"

// bench is locks in a Redis, and a worker and a client in memory.
type bench struct {
	t       *testing.T
	redis   *redistest.Server
	locks   *unique.Locks
	broker  membroker.Broker
	results *membackend.Backend
	client  *client.Client
	reg     *tasks.Registry
	ends    chan worker.Event
}

func newBench(t *testing.T, o unique.Options) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{t: t, redis: redistest.Start(t), results: membackend.New(), reg: tasks.NewRegistry(), ends: make(chan worker.Event, 100)}
	var err error
	if b.locks, err = unique.Open(b.redis.URL(0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.locks.Close() })
	b.locks.Task(price, o)
	if b.client, err = client.New(client.Config{Publisher: b.broker.Publisher(), Loader: b.results}); err != nil {
		t.Fatal(err)
	}
	b.reg.Connect(b.locks.Hooks())
	return b
}

// Observe implements worker.Observer.
func (b *bench) Observe(e worker.Event) {
	if e.Kind != worker.Received && e.Kind != worker.Started {
		b.ends <- e
	}
}

// start starts a worker, which ends with the test, after something was done to it.
func (b *bench) start(before ...func(w *worker.Worker)) {
	b.t.Helper()
	consumer := b.broker.Consumer("celery")
	w, err := worker.New(worker.Config{
		Registry: b.reg, Consumer: consumer, Publisher: b.broker.Publisher(), Store: b.results, Logger: slog.New(slog.DiscardHandler),
		Observers: []worker.Observer{b}, Concurrency: 4,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, do := range before {
		do(w)
	}
	ctx, stop := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	b.t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, consumer.Close()); err != nil {
			b.t.Error(err)
		}
	})
}

// send sends a call of price and returns the id of what is queued, and whether that is this one.
func (b *bench) send(args ...any) (id string, sent bool) {
	b.t.Helper()
	return b.sendSig(canvas.Sig(price, args...))
}

func (b *bench) sendSig(sig canvas.Signature) (id string, sent bool) {
	b.t.Helper()
	result, sent, err := b.locks.Send(b.t.Context(), b.client, sig)
	if err != nil {
		b.t.Fatal(err)
	}
	return result.ID, sent
}

func (b *bench) wantKind(kind worker.Kind) {
	b.t.Helper()
	select {
	case e := <-b.ends:
		if e.Kind != kind {
			b.t.Errorf("the event is %v, want %v: %v", e.Kind, kind, e.Raised)
		}
	case <-time.After(time.Minute):
		b.t.Fatal("no task has ended")
	}
}

// lock is who has the lock of a call with these arguments; "": nobody.
func (b *bench) lock(args string) string {
	b.t.Helper()
	key := unique.SingletonKey(&protocol.Task{Name: price, Args: []byte(args)})
	holder, err := redis.String(b.redis.Dial(b.t, 0).Do("GET", key))
	if err != nil && !errors.Is(err, redis.ErrNil) {
		b.t.Fatal(err)
	}
	return holder
}

// While one is queued another like it is not, from whichever client; others are.
func TestQueuedOnce(t *testing.T) {
	b := newBench(t, unique.Options{For: time.Hour})
	first, sent := b.send("tea")
	if again, sentAgain := b.send("tea"); !sent || sentAgain || again != first {
		t.Errorf("%s %v, then %s %v", first, sent, again, sentAgain)
	}
	if _, sent := b.send("milk"); !sent {
		t.Error("another one was not sent")
	}
	if _, sent := b.sendSig(canvas.Sig("shop.tasks.other", "tea")); !sent {
		t.Error("a task that is not locked was not sent")
	}
	if n := b.broker.Len("celery"); n != 3 {
		t.Errorf("%d messages are queued", n)
	}
	if _, _, err := b.locks.Send(t.Context(), b.client, canvas.Chain(canvas.Sig(price, 1), canvas.Sig(price, 2))); err == nil {
		t.Error("a chain was sent")
	}
}

// The lock is free again when the task has come to an end, whichever it is, and only then.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		does func() error
		ends []worker.Kind
	}{
		"success": {func() error { return nil }, []worker.Kind{worker.Succeeded}},
		"failure": {func() error { return errors.New("no") }, []worker.Kind{worker.Failed}},
		"ignored": {tasks.Ignore, []worker.Kind{worker.Ignored}},
		"panic":   {func() error { panic("no") }, []worker.Kind{worker.Failed}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, unique.Options{For: time.Hour})
			runs := make(chan chan struct{})
			b.reg.Register(price, func(string) error {
				end := make(chan struct{})
				runs <- end
				<-end
				return c.does()
			})
			b.start()
			for range 2 {
				id, sent := b.send("tea")
				if !sent {
					t.Fatal("the lock is not free")
				}
				end := <-runs
				if holder := b.lock(`["tea"]`); holder != id {
					t.Errorf("%q has the lock of %s", holder, id)
				}
				if _, sent := b.send("tea"); sent {
					t.Error("another one was sent while it runs")
				}
				close(end)
				for _, kind := range c.ends {
					b.wantKind(kind)
				}
			}
		})
	}
}

// A retry keeps its lock, and has all of its time again. Arguments that do not fit, an expiry and a revocation end it.
func TestRetriesAndRefusals(t *testing.T) {
	b := newBench(t, unique.Options{For: time.Hour})
	conn, key := b.redis.Dial(t, 0), unique.SingletonKey(&protocol.Task{Name: price, Args: []byte(`["tea"]`)})
	b.reg.Register(price, func(ctx context.Context, _ string) error {
		if tasks.Current(ctx).Retries == 0 {
			if _, err := conn.Do("EXPIRE", key, 600); err != nil {
				t.Error(err)
			}
			return tasks.Retry(nil, tasks.RetryCountdown(0))
		}
		if left, err := redis.Int(conn.Do("TTL", key)); left < 3000 {
			t.Errorf("the lock lasts %d s, %v", left, err)
		}
		if holder := b.lock(`["tea"]`); holder != tasks.Current(ctx).ID {
			t.Errorf("%q has the lock", holder)
		}
		return nil
	})
	revoked, _ := b.send("revoked")
	b.sendSig(canvas.Sig(price, "expired").Set(canvas.ExpiresAt(time.Now().Add(-time.Hour))))
	b.start(func(w *worker.Worker) { w.Operations().Revoke(t.Context(), revoked) })
	b.wantKind(worker.Revoked)
	b.wantKind(worker.Revoked)
	b.send("too", "many")
	b.wantKind(worker.Failed)
	b.send("tea")
	b.wantKind(worker.Retried)
	b.wantKind(worker.Succeeded)
	for _, args := range []string{`["revoked"]`, `["expired"]`, `["too", "many"]`, `["tea"]`} {
		if holder := b.lock(args); holder != "" {
			t.Errorf("%s has the lock of %s", holder, args)
		}
	}
}

// A lock that was given up at the start lets another one be queued while the first runs.
func TestUntilStart(t *testing.T) {
	b := newBench(t, unique.Options{For: time.Hour, Until: unique.Start})
	runs, end := make(chan struct{}), make(chan struct{})
	b.reg.Register(price, func(string) { runs <- struct{}{}; <-end })
	b.start()
	b.send("tea")
	<-runs
	if _, sent := b.send("tea"); !sent {
		close(end)
		t.Fatal("no other was sent while it runs")
	}
	<-runs
	close(end)
	b.wantKind(worker.Succeeded)
	b.wantKind(worker.Succeeded)
}

// A lock ends with its time, and who has lost it so does not give up somebody else's.
func TestTime(t *testing.T) {
	b := newBench(t, unique.Options{For: 50 * time.Millisecond})
	runs, end := make(chan struct{}), make(chan struct{})
	b.reg.Register(price, func(ctx context.Context, _ string) { runs <- struct{}{}; <-end })
	b.start()
	b.send("tea")
	<-runs
	for b.lock(`["tea"]`) != "" {
		time.Sleep(time.Millisecond)
	}
	if _, err := b.redis.Dial(t, 0).Do("SET", unique.SingletonKey(&protocol.Task{Name: price, Args: []byte(`["tea"]`)}), "other"); err != nil {
		t.Fatal(err)
	}
	close(end)
	b.wantKind(worker.Succeeded)
	if holder := b.lock(`["tea"]`); holder != "other" {
		t.Errorf("%q has the lock", holder)
	}
}

// What could not be sent has no lock.
func TestSendFails(t *testing.T) {
	b := newBench(t, unique.Options{For: time.Hour})
	gone, err := client.New(client.Config{Publisher: nowhere{}, NoRetry: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, sent, err := b.locks.Send(t.Context(), gone, canvas.Sig(price, "tea")); sent || !errors.Is(err, errGone) {
		t.Errorf("sent %v, %v", sent, err)
	}
	if holder := b.lock(`["tea"]`); holder != "" {
		t.Errorf("%q has the lock", holder)
	}
}

var errGone = errors.New("gone")

type nowhere struct{}

func (nowhere) Publish(context.Context, ...broker.Publication) error { return errGone }
func (nowhere) Close() error                                         { return nil }

// Producers that know nothing of locks: of two that are alike only one runs at a time, or within the time.
func TestRunOnce(t *testing.T) {
	for name, c := range map[string]struct {
		o     unique.Options
		other worker.Kind // what becomes of the second
		third worker.Kind // and of one that comes afterwards
	}{
		"while it runs": {unique.Options{For: time.Hour}, worker.Ignored, worker.Succeeded},
		"fails":         {unique.Options{For: time.Hour, Fail: true}, worker.Failed, worker.Succeeded},
		"within":        {unique.Options{For: time.Hour, Until: unique.Timeout}, worker.Ignored, worker.Ignored},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.o)
			var ran atomic.Int32
			runs, end := make(chan struct{}, 3), make(chan struct{})
			b.reg.Use(b.locks.RunOnce())
			b.reg.Register(price, func(string) { ran.Add(1); runs <- struct{}{}; <-end })
			b.start()
			send := func() {
				if _, err := b.client.Delay(t.Context(), price, "tea"); err != nil {
					t.Fatal(err)
				}
			}
			send()
			<-runs
			send()
			select {
			case e := <-b.ends:
				if e.Kind != c.other || e.Raised != nil && e.Raised.Type != "DuplicateTaskError" {
					t.Errorf("the second is %v, %v", e.Kind, e.Raised)
				}
			case <-runs:
				t.Error("the second runs")
			}
			close(end)
			b.wantKind(worker.Succeeded)
			send()
			b.wantKind(c.third)
			if want := map[bool]int32{true: 2, false: 1}[c.third == worker.Succeeded]; ran.Load() != want {
				t.Errorf("%d have run", ran.Load())
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	key := func(args, kwargs string) string {
		return unique.SingletonKey(&protocol.Task{Name: price, Args: []byte(args), Kwargs: []byte(kwargs)})
	}
	if key(`[{"b":1,"a":[true,null]}]`, `{}`) != key(`[{"a": [true, null], "b": 1}]`, ``) {
		t.Error("the order of members, or white space, makes another key")
	}
	if key(`[1]`, `{}`) == key(`[2]`, `{}`) || key(`[1]`, `{}`) == key(`[]`, `{"x": 1}`) {
		t.Error("other arguments have the same key")
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	if _, err := unique.Open("memory://"); err == nil {
		t.Error("a URL that is not Redis's is taken")
	}
	defer func() {
		if recover() == nil {
			t.Error("a lock without a time is taken")
		}
	}()
	b, err := unique.Open("redis://localhost:1")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Task(price, unique.Options{})
}
