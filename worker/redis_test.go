package worker_test

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/settings/connection"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// onRedis is what runs on one Redis, in real time.
type onRedis struct {
	t      *testing.T
	server *redistest.Server
	reg    *tasks.Registry
	client *client.Client

	mu   sync.Mutex
	runs map[string]int
}

func newOnRedis(t *testing.T) *onRedis {
	t.Helper()
	b := &onRedis{t: t, server: redistest.Start(t), reg: tasks.NewRegistry(), runs: map[string]int{}}
	publisher, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: b.server.URL(0)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { publisher.Close() })
	if b.client, err = client.New(client.Config{Publisher: publisher, Loader: b.backend(through(nil))}); err != nil {
		t.Fatal(err)
	}
	return b
}

// through is a network with faults, if there are any.
func through(faults *redistest.Faults) (network connection.Options) {
	if faults != nil {
		network.Dial = faults.Dial
	}
	return network
}

func (b *onRedis) backend(network connection.Options) *redisbackend.Backend {
	b.t.Helper()
	results, err := redisbackend.New(redisbackend.Config{URL: b.server.URL(0), Connection: network})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { results.Close() })
	return results
}

// start starts a worker, and returns what stops it. The end of the test does, too.
func (b *onRedis) start(faults *redistest.Faults) (stop func()) {
	b.t.Helper()
	network := through(faults)
	log := slog.New(slog.NewTextHandler(b.t.Output(), nil))
	consumer, err := redisbroker.Open(b.t.Context(), redisbroker.Config{
		URL: b.server.URL(0), Connection: network, Logger: log,
		Queues:            broker.Named(queue, "other"), // with one alone, a worker may run what it publishes as it is cut off
		VisibilityTimeout: time.Second, UnackedRestoreInterval: 100 * time.Millisecond, UnackedMutexExpire: time.Second,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	publisher, err := redisbroker.OpenPublisher(b.t.Context(), redisbroker.PublisherConfig{URL: b.server.URL(0), Connection: network})
	if err != nil {
		b.t.Fatal(err)
	}
	w, err := worker.New(worker.Config{
		Registry: b.reg, Consumer: consumer, Publisher: publisher, Store: b.backend(network), Hostname: "celery@test", Logger: log,
		Concurrency: 1, PrefetchMultiplier: 1, // it waits for no other message while it holds one
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx) // it has been cut off
		consumer.Close()
		publisher.Close()
	}()
	stop = func() {
		cancel()
		<-ended
	}
	b.t.Cleanup(stop)
	return stop
}

// ran counts a run of a task.
func (b *onRedis) ran(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[name]++
}

func (b *onRedis) count(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[name]
}

// step registers a task that is acknowledged late and counts its runs.
func (b *onRedis) step(name string, err error, opts ...tasks.Option) {
	b.reg.Register(name, func(ctx context.Context, _ any) error {
		b.ran(name)
		if tasks.Current(ctx).Retries > 0 {
			b.ran(name + " again")
			return nil
		}
		return err
	}, append([]tasks.Option{tasks.AcksLate(true), tasks.Params("x=None")}, opts...)...)
}

func (b *onRedis) send(call canvas.Signature) *client.AsyncResult {
	b.t.Helper()
	result, err := b.client.Send(b.t.Context(), call)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

func (b *onRedis) eventually(what string, holds func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never: %s", what)
		}
	}
}

// emptyInboxes gives back what was on its way to a worker that is dead, as peers do after a while.
func (b *onRedis) emptyInboxes() {
	inboxes, _ := b.server.Do(b.t, "KEYS", "apium.inbox.*").([]any)
	for _, inbox := range inboxes {
		for b.server.Do(b.t, "RPOPLPUSH", inbox, queue) != nil {
		}
	}
}

// idle tells that nothing waits and nothing is held.
func (b *onRedis) idle() bool {
	lists, _ := b.server.Do(b.t, "KEYS", "apium.inbox.*").([]any)
	held, _ := b.server.Do(b.t, "EXISTS", queue, "unacked", "unacked_index").(int64)
	return len(lists) == 0 && held == 0
}

// TestStepOfADeadWorker: a worker is cut off as soon as it has published what follows from a
// task that is acknowledged late. Whether or not the task runs again elsewhere, what follows
// runs once, even if the worker comes back.
func TestStepOfADeadWorker(t *testing.T) {
	t.Parallel()
	step, next := canvas.Sig("app.step").Immutable(), canvas.Sig("app.next").Immutable()
	for name, test := range map[string]struct {
		call canvas.Signature
		text string // in what is published
		once string
	}{
		"chain":    {canvas.Chain(step, next), "app.next", "app.next"},
		"callback": {step.Link(next), "app.next", "app.next"},
		"errback":  {canvas.Sig("app.fail").LinkError(next), "app.next", "app.next"},
		"retry":    {canvas.Sig("app.retry"), `"retries": 1`, "app.retry again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newOnRedis(t)
			b.step("app.step", nil)
			b.step("app.next", nil)
			b.step("app.other", nil)
			b.step("app.retry", tasks.Retry(nil, tasks.RetryCountdown(0)))
			b.step("app.fail", tasks.Raise("ValueError", "bad"))
			faults := new(redistest.Faults)
			stop := b.start(faults)
			b.send(canvas.Chain(step, canvas.Sig("app.other"))) // Redis knows the scripts from then on
			b.eventually("the first is done", func() bool { return b.count("app.other") > 0 && b.idle() })
			faults.Die(test.text)
			b.send(test.call)
			b.eventually("the worker is dead", faults.Dead)
			b.emptyInboxes()
			b.start(nil)
			b.eventually("all is done", func() bool { return b.count(test.once) > 0 && b.idle() })
			faults.Revive()
			stop()
			b.eventually("all is done", b.idle)
			if n := b.count(test.once); n != 1 {
				t.Errorf("%s ran %d times, want once", test.once, n)
			}
		})
	}
}

// TestLostAnswersOnRedis: connections break when the answers come to what a task publishes and
// to what is added to its chord. All of it happens once.
func TestLostAnswersOnRedis(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		call canvas.Signature
		text string // in the command whose answer is lost
		once string
	}{
		"retry":        {canvas.Sig("app.retry"), `"retries": 1`, "app.retry again"},
		"early retry":  {canvas.Sig("app.early"), `"retries": 1`, "app.early again"},
		"sent":         {canvas.Sig("app.sends"), `"app.next"`, "app.next"},
		"add to chord": {canvas.Chord([]canvas.Signature{canvas.Sig("app.adds")}, canvas.Sig("app.next")), ".t\r\n", "app.next"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newOnRedis(t)
			b.step("app.next", nil)
			b.step("app.member", nil)
			b.step("app.retry", tasks.Retry(nil, tasks.RetryCountdown(0)))
			b.step("app.early", tasks.Retry(nil, tasks.RetryCountdown(0)), tasks.AcksLate(false))
			b.reg.Register("app.sends", func(ctx context.Context) error {
				_, err := tasks.Send(ctx, canvas.Sig("app.next"))
				return err
			})
			b.reg.Register("app.adds", func(ctx context.Context) error {
				_, err := tasks.AddToChord(ctx, canvas.Sig("app.member"))
				return err
			})
			faults := new(redistest.Faults)
			b.start(faults)
			b.send(canvas.Chain(canvas.Sig("app.member"), canvas.Sig("app.next"))) // Redis knows the scripts from then on
			b.eventually("the first is done", func() bool { return b.count("app.next") > 0 && b.idle() })
			before := b.count(test.once)
			faults.LoseAnswers(test.text, 3)
			b.send(test.call)
			b.eventually("all is done", func() bool { return b.count(test.once) > before && faults.Left() == 0 && b.idle() })
			if n := b.count(test.once) - before; n != 1 {
				t.Errorf("%s ran %d times, want once", test.once, n)
			}
		})
	}
}

// TestChordIsJoinedWithoutCopies: what the body of a chord takes in memory, from the end of the last part until its message
// lies in its queue, is less than twice its message. Half of that are the results as they were read.
func TestChordIsJoinedWithoutCopies(t *testing.T) { //nolint:paralleltest // it looks at what the process allocates
	const parts, size = 8, 1 << 20
	b := newOnRedis(t)
	last := make(chan struct{})
	b.reg.Register("app.large", func() string { return strings.Repeat("x", size) })
	b.reg.Register("app.last", func() { <-last })
	b.start(nil)
	header := slices.Repeat([]canvas.Signature{canvas.Sig("app.large")}, parts)
	b.send(canvas.Chord(append(header, canvas.Sig("app.last")), canvas.Sig("app.join", 1).Set(canvas.Queue("elsewhere"))))
	b.eventually("all but the last part are counted", func() bool {
		keys, _ := b.server.Do(t, "KEYS", "celery-taskset-meta-*.j").([]any)
		return len(keys) == 1 && b.server.Do(t, "ZCARD", keys[0]) == int64(parts)
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	close(last)
	b.eventually("the body is published", func() bool { return b.server.Do(t, "LLEN", "elsewhere") == int64(1) })
	runtime.ReadMemStats(&after)
	message, _ := b.server.Do(t, "LINDEX", "elsewhere", 0).([]byte)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2*uint64(len(message)) || len(message) < parts*size {
		t.Errorf("%d bytes were allocated for a message of %d", n, len(message))
	} else {
		t.Logf("%d bytes for a message of %d", n, len(message))
	}
	var m protocol.Received
	envelope.Open(message, &m)
	body, err := m.Unwrap(m.Body)
	results := pyjson.Elements(pyjson.Elements(pyjson.Elements(body)[0])[0])
	if err != nil || len(results) != parts+1 || len(results[0]) != size+2 || string(results[parts]) != "null" {
		t.Errorf("%d results, %v", len(results), err)
	}
}

// TestManyComeDueAtOnceOnRedis: what a worker has taken from Redis before it is due runs once, and not before its time, although the
// worker is stopped and another one takes over.
func TestManyComeDueAtOnceOnRedis(t *testing.T) {
	t.Parallel()
	const n = 1500
	b := newOnRedis(t)
	at := time.Now().Add(15 * time.Second)
	b.reg.Register("app.now", func(name string) {
		b.ran(name)
		if time.Now().Before(at) {
			b.ran("early")
		}
	})
	for i := range n {
		b.send(canvas.Sig("app.now", strconv.Itoa(i)).Set(canvas.ETA(at)))
	}
	stop := b.start(nil)
	parked := func() int64 {
		left, _ := b.server.Do(t, "ZCARD", "apium.parked."+queue).(int64)
		return left
	}
	b.eventually("all are parked", func() bool { return b.server.Do(t, "LLEN", queue) == int64(0) && parked() > 0 })
	b.eventually("all are taken before they are due", func() bool { return parked() == 0 || time.Now().After(at) })
	b.start(nil)
	stop()
	ran := func() (all, twice int) {
		for i := range n {
			if runs := b.count(strconv.Itoa(i)); runs > 0 {
				all, twice = all+1, twice+runs-1
			}
		}
		return all, twice
	}
	b.eventually("all have run", func() bool { all, _ := ran(); return all == n && b.idle() })
	if _, twice := ran(); twice != 0 || b.count("early") != 0 {
		t.Errorf("%d ran twice, and %d before their time", twice, b.count("early"))
	}
}
