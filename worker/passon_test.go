package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// claiming is a consumer that shows the tasks of what it claims.
type claiming struct {
	broker.Consumer
	mu      sync.Mutex
	claimed []string
}

func (c *claiming) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	ds, err := c.Consumer.Claim(ctx, limit)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range ds {
		var r protocol.Received
		d.Read(&r)
		task, _ := new(protocol.Decoder).DecodeHeaders(&r)
		c.claimed = append(c.claimed, strings.TrimPrefix(task.Name, "app."))
	}
	return ds, err
}

func (c *claiming) Unwrap() broker.Consumer { return c.Consumer }

func (c *claiming) want(t *testing.T, tasks ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.claimed, tasks) {
		t.Errorf("claimed %q, want %q", c.claimed, tasks)
	}
}

// TestStepsArePassedOn: what follows a task goes through its queue unless it would come back at once.
func TestStepsArePassedOn(t *testing.T) {
	first := canvas.Sig("app.first", 1)
	next := func(opts ...canvas.Option) canvas.Signature { return canvas.Sig("app.next").Set(opts...) }
	for _, tt := range []struct {
		name    string
		call    canvas.Signature
		setUp   func(b *bench)
		claimed string
		ran     string
	}{
		{"a chain", canvas.Chain(first, next(), next(canvas.Priority(9)), next()), nil, "first", "first next next next"},
		{"in the only slot", canvas.Chain(first, next(), next()), func(b *bench) { b.cfg.Concurrency = 1 }, "first", "first next next"},
		{"a callback", first.Link(next()), nil, "first", "first next"},
		{"two callbacks", first.Link(next(), next(canvas.Priority(1))), nil, "first next next", "first next next"},
		{"a group", canvas.Chain(first, canvas.Group(next(), next())), nil, "first next next", "first next next"},
		{"without results", canvas.Chain(first, next(), next()), func(b *bench) { b.cfg.Store = nil }, "first", "first next next"},
		{"a chord's body", canvas.Chord([]canvas.Signature{first}, canvas.Sig("app.join")), nil, "first", "first join"},
		{"and what follows it", canvas.Chain(first, canvas.Chord([]canvas.Signature{next(), next()}, canvas.Sig("app.join")), next()), nil, "first next next", "first next next join next"},
		{"a body in the only slot", canvas.Chord([]canvas.Signature{first, first}, canvas.Sig("app.join")), func(b *bench) { b.cfg.Concurrency = 1 }, "first first", "first first join"},
		{"a body that is a group", canvas.Chord([]canvas.Signature{first}, canvas.Group(canvas.Sig("app.join"), canvas.Sig("app.join"))), nil, "first join join", "first join join"},
		{"a body after late acknowledgements", canvas.Chord([]canvas.Signature{canvas.Sig("app.late", 1)}, canvas.Sig("app.join")), nil, "late join", "late join"},
		{"a body after acknowledgements that it does not go with", canvas.Chord([]canvas.Signature{canvas.Sig("app.late", 1)}, canvas.Sig("app.join")), func(b *bench) {
			b.cfg.Consumer = &claiming{Consumer: inconclusive{b.broker.Consumer(queue)}}
		}, "late join", "late join"},
		{"a body that is acknowledged late", canvas.Chord([]canvas.Signature{first}, canvas.Sig("app.latejoin")), nil, "first latejoin", "first latejoin"},
		{"a body of another queue", canvas.Chord([]canvas.Signature{first}, canvas.Sig("app.join").Set(canvas.Queue("elsewhere"))), nil, "first", "first"},
		{"after a late acknowledgement", canvas.Chain(canvas.Sig("app.late", 1), next()), nil, "late next", "late next"},
		{"before a late acknowledgement", canvas.Chain(first, canvas.Sig("app.late")), nil, "first late", "first late"},
		{"of another queue", canvas.Chain(first, next(canvas.Queue("elsewhere"))), nil, "first", "first"},
		{"later", canvas.Chain(first, next(canvas.Countdown(time.Second))), nil, "first next", "first next"},
		{"in another format", canvas.Chain(first, next(canvas.Serializer("yaml"))), nil, "first next", "first"},
		{"unknown", canvas.Chain(first, canvas.Sig("app.unknown")), nil, "first unknown", "first"},
		{"with a rate limit", canvas.Chain(first, canvas.Sig("app.limited")), nil, "first limited", "first limited"},
		{"expired", canvas.Chain(first, next(canvas.Expires(-time.Second))), nil, "first next", "first"},
		{"revoked", canvas.Chain(first, next(canvas.TaskID("revoked"))), nil, "first next", "first"},
		{"published elsewhere", canvas.Chain(first, next()), func(b *bench) { b.cfg.Publisher = new(membroker.Broker).Publisher() }, "first", "first"},
		{"where what is accepted cannot go back", canvas.Chain(first, next()), func(b *bench) {
			b.cfg.Consumer = &claiming{Consumer: plain{b.broker.Consumer(queue)}}
		}, "first next", "first next"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				consumer := &claiming{Consumer: b.broker.Consumer(queue)}
				b.cfg.Consumer = consumer
				if tt.setUp != nil {
					tt.setUp(b)
				}
				var mu sync.Mutex
				var ran []string
				for name, opts := range map[string][]tasks.Option{
					"first": nil, "next": nil, "late": {tasks.AcksLate(true)}, "limited": {tasks.RateLimit("1/s")},
				} {
					b.reg.Register("app."+name, func(n int) int {
						time.Sleep(time.Millisecond) // until Claim waits
						mu.Lock()
						defer mu.Unlock()
						ran = append(ran, name)
						return n + 1
					}, opts...)
				}
				for name, opts := range map[string][]tasks.Option{"join": nil, "latejoin": {tasks.AcksLate(true)}} {
					b.reg.Register("app."+name, func(parts []int) int {
						time.Sleep(time.Millisecond)
						mu.Lock()
						defer mu.Unlock()
						ran = append(ran, name)
						return len(parts)
					}, opts...)
				}
				b.start()
				b.w.Operations().Revoke(t.Context(), "revoked")
				b.send(tt.call)
				b.sleep(time.Minute)
				b.cfg.Consumer.(*claiming).want(t, strings.Fields(tt.claimed)...)
				if got := strings.Join(ran, " "); got != tt.ran {
					t.Errorf("ran %s, want %s", got, tt.ran)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// plain hides what a consumer can do besides.
type plain struct{ broker.Consumer }

// inconclusive is a consumer that publishes nothing along with acknowledgements.
type inconclusive struct{ broker.Consumer }

func (inconclusive) Concluder(broker.Publisher) broker.Concluder { return nil }
func (i inconclusive) Unwrap() broker.Consumer                   { return i.Consumer }

// TestPassedOnIsToldLikeAll: what is told of a step, and what it is given, does not depend on how it came.
func TestPassedOnIsToldLikeAll(t *testing.T) {
	var mu sync.Mutex
	told := map[bool]string{}
	t.Run("chain", func(t *testing.T) {
		for _, passes := range []bool{true, false} {
			t.Run(fmt.Sprint(passes), func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bench) {
					text := runChain(t, b, passes)
					mu.Lock()
					defer mu.Unlock()
					told[passes] = text
				})
			})
		}
	})
	if told[true] != told[false] {
		t.Errorf("passed on:\n%s\npublished:\n%s", told[true], told[false])
	}
}

// runChain returns what is told of a chain of three steps, sorted: a publication may be told of before or after the arrival.
func runChain(t *testing.T, b *bench, passes bool) string {
	t.Helper()
	consumer := &claiming{Consumer: b.broker.Consumer(queue)}
	b.cfg.Consumer = consumer
	if !passes {
		consumer.Consumer = without{consumer.Consumer}
	}
	var mu sync.Mutex
	var lines []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	}
	b.reg.Register("app.step", tasks.HandlerFunc(func(_ context.Context, req *tasks.Request) (any, error) {
		task, next := *req.Task, req.Embed
		if task.IgnoreResult != nil {
			note("%s ignores its result: %v", task.ID, *task.IgnoreResult)
		}
		note("%s has %s %s %s %s, then %s %s %s %s", task.ID, task.Args, task.Kwargs, task.Headers, task.Properties,
			next.Callbacks, next.Errbacks, next.Chain, next.Chord)
		task.Args, task.Kwargs, task.Headers, task.Properties, task.Embed, task.IgnoreResult = nil, nil, nil, nil, protocol.Embed{}, nil
		note("ran %s %+v", req.Queue, task)
		time.Sleep(time.Millisecond) // until Claim waits
		return 7, nil
	}))
	b.reg.Connect(tasks.Hooks{
		BeforePublish: func(_ context.Context, task *protocol.Task) { note("before %s", task.ID) },
		AfterPublish:  func(_ context.Context, task *protocol.Task) { note("after %s", task.ID) },
		TaskReceived:  func(req *tasks.Request) { note("received %s", req.ID) },
	})
	b.start()
	step := canvas.Sig("app.step")
	last := b.send(canvas.Chain(step.Set(canvas.TaskID("a")), step.Kw(map[string]any{"k": 1}).Set(canvas.TaskID("b")), step.Set(canvas.TaskID("c"))))
	b.sleep(time.Second)
	for _, id := range []string{"a", "b", last} {
		note("%s", b.record(id))
	}
	// A published step may arrive before its predecessor's end is told.
	b.wantEventsInAnyOrder("received", "received", "received", "started", "started", "started", "succeeded", "succeeded", "succeeded")
	if passes {
		consumer.want(t, "step")
	} else {
		consumer.want(t, "step", "step", "step")
	}
	slices.Sort(lines)
	return madeUp.ReplaceAllString(strings.Join(lines, "\n"), "id")
}

// without is a consumer without the ability to pass on.
type without struct{ broker.Consumer }

func (without) Bypasser(broker.Publisher) broker.Bypasser { return nil }
func (w without) Unwrap() broker.Consumer                 { return w.Consumer }

// TestPassedOnComesAfterWhatWaits: a chain holds nobody up. What has come meanwhile runs before its next step.
func TestPassedOnComesAfterWhatWaits(t *testing.T) {
	for _, prefetch := range []int{1, 4} { // the second one waits in the queue, or here
		t.Run(fmt.Sprint(prefetch), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.Concurrency, b.cfg.PrefetchMultiplier = 1, prefetch
				var ran []string
				b.reg.Register("app.step", func(name string) string {
					ran = append(ran, name)
					time.Sleep(time.Second)
					return name
				})
				b.start()
				step := canvas.Sig("app.step", "step").Immutable()
				b.send(canvas.Chain(step, step, step))
				b.send(canvas.Sig("app.step", "one"))
				b.send(canvas.Sig("app.step", "two"))
				b.sleep(time.Minute)
				if want := []string{"step", "one", "two", "step", "step"}; !slices.Equal(ran, want) {
					t.Errorf("ran %q, want %q", ran, want)
				}
			})
		})
	}
}

// takenAway is a backend in which somebody else has ended chords whose bodies are to begin here, or only their claims have run out.
type takenAway struct {
	*membackend.Backend
	ended  bool
	claims int // how many are still to run out
}

func (a *takenAway) TakeBody(ctx context.Context, claim backend.ChordClaim) error {
	switch {
	case a.ended:
		_ = a.Finish(ctx, claim, false)
	case a.claims > 0:
		a.claims--
		_ = a.Renew(ctx, claim, 0)
		return backend.ErrClaimLost
	}
	return a.Backend.TakeBody(ctx, claim)
}

// TestBodyOfAnotherIsNotPassedOn: a chord ends before its body begins, and if somebody else has ended it the body does not, and leaves its
// place to others. If nobody has, it begins all the same.
func TestBodyOfAnotherIsNotPassedOn(t *testing.T) {
	for name, away := range map[string]takenAway{"ended": {ended: true}, "two claims run out": {claims: 2}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				consumer := &claiming{Consumer: b.broker.Consumer(queue)}
				away.Backend = b.results
				b.cfg.Store, b.cfg.Consumer, b.cfg.Concurrency = &away, consumer, 1
				ran := 0
				b.reg.Register("app.first", func() { time.Sleep(time.Millisecond) })
				b.reg.Register("app.join", func([]any) { ran++ })
				b.start()
				first := canvas.Sig("app.first").Immutable()
				for range 3 {
					b.send(canvas.Chord([]canvas.Signature{first}, canvas.Sig("app.join")))
					b.sleep(time.Minute)
				}
				b.send(canvas.Chain(first, first, first)) // each step has the place that a body has left
				b.sleep(time.Minute)
				consumer.want(t, "first", "first", "first", "first")
				if want := map[bool]int{false: 3}[away.ended]; ran != want || away.claims > 0 {
					t.Errorf("%d bodies ran, want %d; %d claims did not run out", ran, want, away.claims)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// TestPassedOnGoesBack: a step that was passed on and finds no slot goes to its queue: at a shutdown, and when there are
// fewer slots than before.
func TestPassedOnGoesBack(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(b *bench)
		claimed   string
		left      int // in the queue
	}{
		"shutdown": {func(b *bench) { b.stop() }, "first", 1},
		"fewer slots": {func(b *bench) {
			b.send(canvas.Sig("app.long"))
			if err := b.w.Operations().Resize(1); err != nil {
				b.t.Error(err)
			}
		}, "first long next", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				store := &flaky{inner: b.results}
				consumer := &claiming{Consumer: b.broker.Consumer(queue)}
				b.cfg.Store, b.cfg.Consumer = store, consumer
				b.reg.Register("app.first", func() {
					time.Sleep(time.Millisecond) // until Claim waits
					store.mu.Lock()
					defer store.mu.Unlock()
					store.broken = true
				})
				b.reg.Register("app.next", func() int { return 7 })
				b.reg.Register("app.long", func() { time.Sleep(time.Hour) })
				b.start()
				b.send(canvas.Chain(canvas.Sig("app.first"), canvas.Sig("app.next").Immutable()))
				b.sleep(time.Second)
				b.wantQueued(0, 0)
				tt.meanwhile(b)
				synctest.Wait()
				store.repair()
				b.sleep(time.Minute)
				consumer.want(t, strings.Fields(tt.claimed)...)
				if n := b.broker.Len(queue); n != tt.left {
					t.Errorf("%d messages are in the queue, want %d", n, tt.left)
				}
			})
		})
	}
}
