package batches_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/batches"
	"github.com/apium/apium/worker"
)

// bench is a worker on a broker and a backend in memory, in virtual time, whose one slot no batch needs.
type bench struct {
	t       *testing.T
	broker  membroker.Broker
	results *membackend.Backend
	reg     *tasks.Registry
	cfg     worker.Config
	client  *client.Client

	w    *worker.Worker
	stop func() // warm

	mu    sync.Mutex
	calls []string // of handlers: the arguments
	seen  []string // kinds of events, with the task's id
}

func inBubble(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, results: membackend.New(), reg: tasks.NewRegistry()}
		var err error
		if b.client, err = client.New(client.Config{Publisher: b.broker.Publisher(), Loader: b.results}); err != nil {
			t.Fatal(err)
		}
		b.cfg = worker.Config{
			Registry: b.reg, Store: b.results, Publisher: b.broker.Publisher(), Consumer: b.broker.Consumer("celery"), Hostname: "celery@test",
			Concurrency: 1, PrefetchMultiplier: 1, Logger: slog.New(slog.DiscardHandler), Observers: []worker.Observer{b},
		}
		test(t, b)
		if b.stop != nil {
			b.stop()
		}
	})
}

func (b *bench) start() {
	b.t.Helper()
	var err error
	if b.w, err = worker.New(b.cfg); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.w.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
		b.stop = nil
	}
	synctest.Wait()
}

var kinds = map[worker.Kind]string{
	worker.Received: "received", worker.Started: "started", worker.Succeeded: "succeeded", worker.Failed: "failed", worker.Retried: "retried",
	worker.Revoked: "revoked", worker.Ignored: "ignored", worker.Rejected: "rejected",
}

// Observe implements worker.Observer.
func (b *bench) Observe(e worker.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen = append(b.seen, kinds[e.Kind]+" "+e.Task.ID); kinds[e.Kind] == "" {
		b.t.Errorf("an event of kind %v", e.Kind)
	}
}

// double is a handler that doubles numbers and notes its calls.
func (b *bench) double(ctx context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
	results := make([]batches.Result[int], len(items))
	args := make([]int, len(items))
	for i, item := range items {
		args[i] = item.Args
		results[i].Value = 2 * item.Args
		if item.Args < 0 {
			results[i].Err = tasks.Raise("ValueError", "negative")
		}
	}
	b.called(args)
	return results, nil
}

func (b *bench) called(args []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprint(args))
}

func (b *bench) wantCalls(want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.calls, want) {
		b.t.Errorf("calls %q, want %q", b.calls, want)
	}
}

// wantEvents takes the events of a task.
func (b *bench) wantEvents(id string, want ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []string
	for _, line := range b.seen {
		if kind, of, _ := strings.Cut(line, " "); of == id {
			got = append(got, kind)
		}
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("events of %s are %q, want %q", id, got, want)
	}
}

func (b *bench) send(args ...any) string { return b.sendSig(canvas.Sig("shop.double", args...)) }

func (b *bench) sendSig(sig canvas.Signature) string {
	b.t.Helper()
	res, err := b.client.Send(b.t.Context(), sig)
	if err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	return res.ID
}

func (b *bench) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

// wantResult wants "STATE result" of a task; "": nothing is stored.
func (b *bench) wantResult(id, want string) {
	b.t.Helper()
	got := ""
	raw, err := b.results.Load(b.t.Context(), id)
	if err == nil {
		record, err := protocol.DecodeResult(raw)
		if err != nil {
			b.t.Fatal(err)
		}
		got = string(record.State) + " " + string(record.Result)
	} else if !errors.Is(err, backend.ErrNotFound) {
		b.t.Fatal(err)
	}
	if got != want {
		b.t.Errorf("the result is %s, want %s", got, want)
	}
}

func (b *bench) wantQueued(waiting, leased int) {
	b.t.Helper()
	if w, l := b.broker.Len("celery"), b.broker.Leased(); w != waiting || l != leased {
		b.t.Errorf("%d messages wait and %d are held, want %d and %d", w, l, waiting, leased)
	}
}

const negative = `FAILURE {"exc_type": "ValueError", "exc_message": ["negative"], "exc_module": "builtins"}`

// As many as make a batch are one call, and each is a task of its own. What annotations say of acknowledging does not count.
func TestEvery(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		late := false
		b.cfg.Annotations = []map[string]tasks.Options{{"*": {AcksLate: &late}}}
		batches.Register(b.reg, "shop.double", b.double, batches.Options{Every: 3})
		b.start()
		one, two := b.send(1), b.send(-2)
		b.wantQueued(0, 2)
		b.wantCalls()
		b.wantEvents(one, "received")
		if stats := b.w.Stats(); stats.Active != 0 {
			t.Errorf("%+v", stats)
		}
		if reserved := b.w.Operations().Reserved(); len(reserved) != 2 {
			t.Errorf("reserved are %v", reserved)
		}
		three := b.send(3)
		b.wantCalls("[1 -2 3]")
		b.wantResult(one, "SUCCESS 2")
		b.wantResult(two, negative)
		b.wantResult(three, "SUCCESS 6")
		b.wantEvents(one, "received", "started", "succeeded")
		b.wantEvents(two, "received", "started", "failed")
		b.wantQueued(0, 0)
	})
}

// A message waits for no longer than Within, and the next time counts from the first that waits then.
func TestWithin(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		batches.Register(b.reg, "shop.double", b.double, batches.Options{Within: time.Minute})
		b.start()
		one := b.send(1)
		b.sleep(40 * time.Second)
		two := b.send(2)
		b.sleep(20*time.Second - 1)
		b.wantCalls()
		b.sleep(1)
		b.wantCalls("[1 2]")
		b.wantResult(one, "SUCCESS 2")
		b.wantResult(two, "SUCCESS 4")
		b.sleep(time.Hour)
		b.send(3)
		b.sleep(time.Minute - 1)
		b.wantCalls("[1 2]")
		b.sleep(1)
		b.wantCalls("[1 2]", "[3]")
	})
}

// A batch fills whatever the worker's slots and its prefetch limit are; the rest is the next one, while the first one runs.
func TestLargeBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		b.cfg.PrefetchMultiplier = 4
		batches.Register(b.reg, "shop.double", func(ctx context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
			b.called([]int{len(items)})
			<-release
			return nil, nil
		}, batches.Options{Every: 100})
		b.reg.Register("shop.other", func() string { return "done" })
		b.start()
		var ids []string
		for i := range 350 {
			ids = append(ids, b.send(i))
		}
		b.wantCalls("[100]")
		if e := b.w.Operations().Executors()[1]; e.Active != 100 || e.Slots != 200 || e.Prefetch != 200 { // the second one fills
			t.Errorf("%+v", e)
		}
		other := b.sendSig(canvas.Sig("shop.other"))
		b.sleep(time.Minute) // what cannot be taken is looked through now and then
		b.wantResult(other, `SUCCESS "done"`)
		for i := range 4 {
			want := slices.Repeat([]string{"[100]"}, min(i+1, 3))
			if i == 3 {
				want = append(want, "[50]")
			}
			b.wantCalls(want...)
			release <- struct{}{}
			b.sleep(time.Minute)
		}
		for _, id := range ids {
			b.wantResult(id, "SUCCESS 0")
		}
	})
}

func TestAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		batches.Register(b.reg, "shop.double", func(ctx context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
			defer b.double(ctx, items)
			time.Sleep(time.Minute)
			return nil, nil
		}, batches.Options{Every: 2, AtOnce: 2})
		b.start()
		for i := range 6 {
			b.send(i)
		}
		b.sleep(time.Minute)
		b.mu.Lock()
		slices.Sort(b.calls)
		b.mu.Unlock()
		b.wantCalls("[0 1]", "[2 3]")
		b.sleep(time.Minute)
		b.wantCalls("[0 1]", "[2 3]", "[4 5]")
	})
}

// What has been revoked or has expired while it waited is not in the batch; what is due later is not before.
func TestWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		batches.Register(b.reg, "shop.double", b.double, batches.Options{Within: time.Minute})
		b.start()
		revoked, kept := b.send(1), b.send(2)
		expired := b.sendSig(canvas.Sig("shop.double", 3).Set(canvas.Expires(30 * time.Second)))
		later := b.sendSig(canvas.Sig("shop.double", 4).Set(canvas.Countdown(90 * time.Second)))
		b.w.Operations().Revoke(t.Context(), revoked)
		b.sleep(time.Minute)
		b.wantCalls("[2]")
		b.wantResult(kept, "SUCCESS 4")
		b.wantEvents(revoked, "received", "revoked")
		b.wantEvents(expired, "received", "revoked")
		b.sleep(90 * time.Second)
		b.wantCalls("[2]", "[4]")
		b.wantResult(later, "SUCCESS 8")
		b.wantQueued(0, 0)
	})
}

// A warm shutdown runs what waits, a cold one gives it back.
func TestShutdown(t *testing.T) {
	for _, cold := range []bool{false, true} {
		t.Run(fmt.Sprintf("cold=%v", cold), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				batches.Register(b.reg, "shop.double", b.double, batches.Options{})
				b.start()
				one, two := b.send(1), b.send(2)
				if cold {
					b.w.Abort()
				}
				begun := time.Now()
				b.stop()
				if took := time.Since(begun); took > time.Second {
					t.Errorf("it took %v", took)
				}
				if cold && len(b.calls) == 0 { // what a warm one begins with may come first
					b.wantQueued(2, 0)
					b.wantResult(one, "")
					return
				}
				b.wantCalls("[1 2]")
				b.wantResult(one, "SUCCESS 2")
				b.wantResult(two, "SUCCESS 4")
				b.wantQueued(0, 0)
			})
		})
	}
}

// Arguments that do not fit fail one task, and what the handler makes of all of them counts for the others.
func TestFailures(t *testing.T) {
	typeError := `FAILURE {"exc_type": "TypeError", "exc_message": ["double() takes 1 positional argument but 2 were given"], "exc_module": "builtins"}`
	for name, c := range map[string]struct {
		handler func(items []batches.Item[int]) ([]batches.Result[int], error)
		want    string
	}{
		"error": {func([]batches.Item[int]) ([]batches.Result[int], error) {
			return nil, tasks.Raise("KeyError", "whole")
		}, `FAILURE {"exc_type": "KeyError", "exc_message": ["whole"], "exc_module": "builtins"}`},
		"panic": {func([]batches.Item[int]) ([]batches.Result[int], error) {
			panic("out of tea")
		}, `FAILURE {"exc_type": "RuntimeError", "exc_message": ["out of tea"], "exc_module": "builtins"}`},
		"number": {func(items []batches.Item[int]) ([]batches.Result[int], error) {
			return make([]batches.Result[int], 1), nil
		}, `FAILURE {"exc_type": "Exception", "exc_message": ["batches: the handler of shop.double returned 1 results for 2 tasks"], "exc_module": "builtins"}`},
		"goexit": {func([]batches.Item[int]) ([]batches.Result[int], error) {
			runtime.Goexit()
			return nil, nil
		}, `FAILURE {"exc_type": "WorkerLostError", "exc_message": ["Worker exited prematurely: the handler ended its goroutine."], "exc_module": "billiard.exceptions"}`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				batches.Register(b.reg, "shop.double", func(_ context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
					return c.handler(items)
				}, batches.Options{Every: 3})
				b.start()
				for range 2 { // nothing is stuck after it
					one, wrong, two := b.send(1), b.send(1, 2), b.send(2)
					b.wantResult(one, c.want)
					b.wantResult(wrong, typeError)
					b.wantResult(two, c.want)
					b.wantQueued(0, 0)
				}
			})
		})
	}
}

// Each task has what its own error asks for, and its chain goes on with its own result.
func TestOutcomes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		batches.Register(b.reg, "shop.double", func(ctx context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
			results, err := b.double(ctx, items)
			for i, item := range items {
				if item.Request.Retries == 0 && item.Args == 1 {
					results[i].Err = tasks.Retry(errors.New("busy"), tasks.RetryCountdown(0))
				} else if item.Args == 2 {
					results[i].Err = tasks.Ignore()
				}
			}
			return results, err
		}, batches.Options{Every: 3, Within: time.Minute})
		b.reg.Register("shop.add", func(x, y int) int { return x + y })
		b.start()
		again, ignored, first := b.send(1), b.send(2), b.sendSig(canvas.Chain(canvas.Sig("shop.double", 3), canvas.Sig("shop.add", 10)))
		b.sleep(0)
		b.wantResult(first, "SUCCESS 16")
		b.wantResult(ignored, "")
		b.wantEvents(ignored, "received", "started", "ignored")
		b.sleep(time.Minute)
		b.wantCalls("[1 2 3]", "[1]")
		b.wantResult(again, "SUCCESS 2")
		b.wantEvents(again, "received", "started", "retried", "received", "started", "succeeded")
	})
}

// Time limits count from the call. The soft one is the handler's to heed; after the hard one the next batch is called.
func TestTimeLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		over := make(chan struct{})
		batches.Register(b.reg, "shop.double", func(ctx context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
			b.double(ctx, items)
			<-ctx.Done()
			if items[0].Args == 1 {
				return nil, context.Cause(ctx)
			}
			<-over
			return nil, nil
		}, batches.Options{Every: 2, Within: time.Minute}, tasks.SoftTimeLimit(10*time.Second), tasks.TimeLimit(20*time.Second))
		b.start()
		softly := []string{b.send(1), b.send(1)}
		b.sleep(10 * time.Second)
		for _, id := range softly {
			b.wantResult(id, `FAILURE {"exc_type": "SoftTimeLimitExceeded", "exc_message": [], "exc_module": "billiard.exceptions"}`)
		}
		hard := []string{b.send(2), b.send(2)}
		next := []string{b.send(1), b.send(1)}
		b.sleep(20 * time.Second)
		for _, id := range hard {
			b.wantResult(id, `FAILURE {"exc_type": "TimeLimitExceeded", "exc_message": [20], "exc_module": "billiard.exceptions"}`)
		}
		if stats := b.w.Stats(); stats.Abandoned != 1 {
			t.Errorf("%d handlers are abandoned", stats.Abandoned)
		}
		b.wantCalls("[1 1]", "[2 2]", "[1 1]")
		b.sleep(10 * time.Second)
		b.wantEvents(next[0], "received", "started", "failed")
		close(over)
		synctest.Wait()
		if stats := b.w.Stats(); stats.Abandoned != 0 {
			t.Errorf("%d handlers are abandoned", stats.Abandoned)
		}
	})
}

// One that is terminated ends alone.
func TestTerminate(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var ids []string
		batches.Register(b.reg, "shop.double", func(ctx context.Context, items []batches.Item[int]) ([]batches.Result[int], error) {
			for i, item := range items {
				if _, err := b.w.Operations().Terminate(15, item.Request.ID); i < 2 && err != nil {
					t.Error(err)
				}
				if time.Sleep(time.Second); item.Context.Err() == nil || ctx.Err() != nil {
					t.Errorf("%v, %v", item.Context.Err(), ctx.Err())
				}
				if i == 1 {
					break
				}
			}
			return b.double(ctx, items)
		}, batches.Options{Every: 3})
		b.start()
		for i := range 3 {
			ids = append(ids, b.send(i))
		}
		b.sleep(time.Minute)
		for _, id := range ids[:2] {
			b.wantEvents(id, "received", "started", "revoked")
		}
		b.wantResult(ids[2], "SUCCESS 4")
		b.wantQueued(0, 0)
	})
}

// What was terminated before the call is not among its items, and a middleware that tries again has a batch of one.
func TestMiddleware(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		arrive := make(chan struct{})
		b.reg.Use(func(next tasks.Handler) tasks.Handler {
			return tasks.HandlerFunc(func(ctx context.Context, req *tasks.Request) (any, error) {
				if string(req.Args) == "[1]" {
					<-arrive
				}
				result, err := next.Handle(ctx, req)
				if err != nil && ctx.Err() == nil {
					result, err = next.Handle(ctx, req)
				}
				return result, err
			})
		})
		batches.Register(b.reg, "shop.double", b.double, batches.Options{Every: 3})
		b.start()
		one, gone, fails := b.send(1), b.send(2), b.send(-3)
		if _, err := b.w.Operations().Terminate(9, gone); err != nil {
			t.Error(err)
		}
		b.sleep(0)
		close(arrive)
		b.sleep(0)
		b.wantCalls("[1 -3]", "[-3]")
		b.wantResult(one, "SUCCESS 2")
		b.wantEvents(gone, "received", "started", "revoked")
		b.wantResult(fails, negative)
	})
}

// Called by another task there is nothing to wait for.
func TestMap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		batches.Register(b.reg, "shop.double", b.double, batches.Options{})
		b.start()
		id := b.sendSig(canvas.Map(canvas.Sig("shop.double"), []int{1, 2}))
		b.wantResult(id, "SUCCESS [2, 4]")
		b.wantCalls("[1]", "[2]")
	})
}

// An item's context is that of its task, with what middleware and hooks have put there.
func TestItems(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		type key struct{}
		type page struct {
			URL   string
			Depth int `celery:",3"`
		}
		b.reg.Connect(tasks.Hooks{TaskContext: func(ctx context.Context, req *tasks.Request) context.Context {
			return context.WithValue(ctx, key{}, req.ID)
		}})
		batches.Register(b.reg, "shop.index", func(ctx context.Context, items []batches.Item[page]) ([]batches.Result[string], error) {
			if tasks.Current(ctx) != nil {
				t.Error("the handler's context is that of a task")
			}
			results := make([]batches.Result[string], len(items))
			for i, item := range items {
				if item.Context.Value(key{}) != item.Request.ID || tasks.Current(item.Context) != item.Request {
					t.Errorf("the context of %s is not its own", item.Request.ID)
				}
				if err := tasks.UpdateState(item.Context, "INDEXING", nil); err != nil {
					t.Error(err)
				}
				results[i].Value = fmt.Sprint(item.Args)
			}
			return results, nil
		}, batches.Options{Every: 2})
		b.start()
		one := b.sendSig(canvas.Sig("shop.index", "a"))
		two := b.sendSig(canvas.Sig("shop.index").Kw(map[string]any{"url": "b", "depth": 1}))
		b.sleep(0)
		b.wantResult(one, `SUCCESS "{a 3}"`)
		b.wantResult(two, `SUCCESS "{b 1}"`)
	})
}

func TestRegisterPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a negative option is taken")
		}
	}()
	batches.Register(tasks.NewRegistry(), "shop.double", (&bench{}).double, batches.Options{Every: -1})
}
