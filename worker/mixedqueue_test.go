package worker_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// countedClaims counts what a consumer is asked for.
type countedClaims struct {
	broker.Consumer
	claims, messages atomic.Int64
}

func (c *countedClaims) Unwrap() broker.Consumer { return c.Consumer }

func (c *countedClaims) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	deliveries, err := c.Consumer.Claim(ctx, limit)
	c.claims.Add(1)
	c.messages.Add(int64(len(deliveries)))
	return deliveries, err
}

// Short tasks of one executor and many long ones of another in one queue: the short ones do not
// wait behind a thousand long ones, these keep their order, and the broker has little to do with it.
func TestMixedQueue(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			var mu sync.Mutex // guards all three
			var ran []string
			short, takes := 0, time.Second
			soFar := func() (int, []string) {
				mu.Lock()
				defer mu.Unlock()
				return short, slices.Clone(ran)
			}
			e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
				"py.long": func(p *process, run *worker.Run) worker.Outcome {
					mu.Lock()
					ran = append(ran, run.ID)
					takes := takes
					mu.Unlock()
					return p.works(run, takes)
				},
			}}
			withProcesses(t, 1, map[string][]tasks.Option{"py.long": {tasks.AcksLate(late)}}, e, func(t *testing.T, b *bench) {
				const long = 1500
				counted := &countedClaims{Consumer: b.broker.Consumer(queue)}
				b.cfg.Consumer, b.cfg.Concurrency = counted, 2
				b.reg.Register("app.short", func() {
					mu.Lock()
					defer mu.Unlock()
					short++
				}, tasks.AcksLate(late))
				sent := make([]string, long)
				for i := range sent {
					if sent[i] = b.send(canvas.Sig("py.long")); i%100 == 99 {
						b.send(canvas.Sig("app.short"))
					}
				}
				b.start()
				b.sleep(5 * time.Second)
				if n, _ := soFar(); n < 10 {
					t.Errorf("%d short tasks have run, of those behind a thousand long ones 10", n)
				}
				const seconds = 60
				claims, messages := counted.claims.Load(), counted.messages.Load()
				b.sleep(seconds * time.Second)
				claims, messages = counted.claims.Load()-claims, counted.messages.Load()-messages
				if claims > 8*seconds || messages > 1500*seconds {
					t.Errorf("%d claims of %d messages in %d seconds", claims, messages, seconds)
				}
				if _, ids := soFar(); len(ids) < seconds || !slices.Equal(ids, sent[:len(ids)]) {
					t.Errorf("%d long tasks have run, in order: %t", len(ids), slices.Equal(ids, sent[:len(ids)]))
				}
				mu.Lock()
				takes = 10 * time.Millisecond
				mu.Unlock()
				b.sleep(time.Minute)
				if n, ids := soFar(); n != long/100 || !slices.Equal(ids, sent) {
					t.Errorf("%d short tasks and %d long ones have run, in order: %t", n, len(ids), slices.Equal(ids, sent))
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// What there is no room for is aside for a second at most: then others get it, and what comes
// behind it meanwhile is found within another one.
func TestOthersGetWhatIsAside(t *testing.T) {
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.long": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, 100*time.Second) },
	}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		var short atomic.Int32
		b.reg.Register("app.short", func() { short.Add(1) })
		b.start()
		const long = 50
		for range long {
			b.send(canvas.Sig("py.long"))
		}
		b.sleep(500 * time.Millisecond)
		if n := b.broker.Len(queue); n > 0 {
			t.Errorf("%d messages are in the queue, want all aside", n)
		}
		b.send(canvas.Sig("app.short"))
		if short.Load() != 1 {
			t.Error("a short task waits while long ones are aside")
		}
		for range 500 {
			if b.sleep(10 * time.Millisecond); b.broker.Len(queue) > 0 {
				break
			}
		}
		if n := b.broker.Len(queue); n != long-5 { // one runs, four are reserved
			t.Errorf("%d messages went back", n)
		}
		b.send(canvas.Sig("app.short"))
		b.sleep(2 * time.Second)
		if short.Load() != 2 {
			t.Error("a short task behind long ones was not found")
		}
		b.stop() // they go back in order
		<-b.ended
	})
}

// givesBack has none of the abilities of what it wraps, and counts what goes back.
type givesBack struct {
	broker.Consumer
	back atomic.Int64
}

func (g *givesBack) Requeue(ctx context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	g.back.Add(int64(len(deliveries)))
	return g.Consumer.Requeue(ctx, place, deliveries...)
}

// Where a message cannot go back as if nobody had claimed it, what is aside waits for its room: a broker that counts
// how often messages went back would drop it, or we would take it for one that kills its workers.
func TestAsideStaysWhereGoingBackCounts(t *testing.T) {
	e := &processes{tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.long": func(p *process, run *worker.Run) worker.Outcome { return p.works(run, 5*time.Second) },
	}}
	withProcesses(t, 1, nil, e, func(t *testing.T, b *bench) {
		var short atomic.Int32
		b.reg.Register("app.short", func() { short.Add(1) })
		consumer := &givesBack{Consumer: b.broker.Consumer(queue)}
		b.cfg.Consumer = consumer
		b.start()
		for range 12 {
			b.send(canvas.Sig("py.long"))
			b.send(canvas.Sig("app.short"))
		}
		b.sleep(2 * time.Second)
		if n := short.Load(); n != 12 {
			t.Errorf("%d short tasks have run, want 12", n)
		}
		b.sleep(time.Minute)
		if n := consumer.back.Load(); n != 0 {
			t.Errorf("%d messages went back", n)
		}
		b.wantQueued(0, 0)
	})
}
