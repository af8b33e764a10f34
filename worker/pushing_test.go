package worker_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// pushing is a consumer of a broker that hands over ahead, and takes back what does not run when the
// connection is lost.
type pushing struct {
	broker.Consumer
	gone bool // what begins is lost

	mu       sync.Mutex
	prefetch []int    // what it was told
	begun    []string // tags
}

func (p *pushing) Unwrap() broker.Consumer { return p.Consumer }

func (p *pushing) SetPrefetch(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prefetch = append(p.prefetch, n)
}

func (p *pushing) Begin(tag string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = append(p.begun, tag)
	return !p.gone
}

// The broker is told how many messages the worker means to hold, when that changes, and that it
// wants none any more.
func TestPrefetchFollowsSlots(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		consumer := &pushing{Consumer: b.broker.Consumer(queue)}
		b.cfg.Consumer, b.cfg.PrefetchMultiplier = consumer, 4
		b.reg.Register("app.add", func(x, y int) int { return x + y })
		b.start()
		b.send(canvas.Sig("app.add", 1, 2))
		if err := b.w.Operations().Resize(5); err != nil {
			t.Fatal(err)
		}
		b.send(canvas.Sig("app.add", 1, 2))
		b.send(canvas.Sig("app.add", 1, 2))
		b.sleep(time.Second)
		if err := b.w.Operations().Resize(1); err != nil { // with nothing to claim
			t.Fatal(err)
		}
		b.sleep(time.Second)
		consumer.mu.Lock()
		if want := []int{8, 20, 4}; !slices.Equal(consumer.prefetch, want) {
			t.Errorf("of an idle worker: prefetch %v, want %v", consumer.prefetch, want)
		}
		consumer.mu.Unlock()
		b.warm()
		if want := []int{8, 20, 4, 0}; !slices.Equal(consumer.prefetch, want) {
			t.Errorf("prefetch %v, want %v", consumer.prefetch, want)
		}
	})
}

// What is acknowledged late begins only if the broker agrees; what is acknowledged early was before.
func TestBeginsWhatIsHeld(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprint("gone ", gone), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				consumer := &pushing{Consumer: b.broker.Consumer(queue), gone: gone}
				b.cfg.Consumer = consumer
				ran := map[string]int{}
				b.reg.Register("app.late", func() { ran["late"]++ }, tasks.AcksLate(true))
				b.reg.Register("app.early", func() { ran["early"]++ })
				b.start()
				b.send(canvas.Sig("app.late"))
				b.send(canvas.Sig("app.early"))
				b.sleep(time.Second)
				late := 1
				if gone {
					late = 0
				}
				if ran["late"] != late || ran["early"] != 1 || len(consumer.begun) != 1 {
					t.Errorf("gone: %v, ran %v, begun %q", gone, ran, consumer.begun)
				}
				if told := slices.Contains(b.events.seen, "lease lost"); told != gone {
					t.Errorf("gone: %v, told that it is lost: %v", gone, told)
				}
				if n := b.broker.Leased(); n != 1-late {
					t.Errorf("gone: %v, %d messages are held", gone, n)
				}
			})
		})
	}
}
