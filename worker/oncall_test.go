package worker_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
)

// pushes is a consumer of a broker that hands over ahead and cannot take claims back.
type pushes struct{ *pushing }

func (pushes) Unwrap() broker.Consumer { return nil }

// told returns what it was told last, and the most it was told.
func (p *pushing) told() (last, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, last = range p.prefetch {
		most = max(most, last)
	}
	return last, most
}

// A broker that hands over ahead is told to hand over more while handlers are short, and to have it
// back when the slots are stuck; the worker itself claims no more than its limit.
func TestHandsOverAheadOnlyWhileHandlersAreShort(t *testing.T) {
	for _, multiplier := range []int{0, 4} { // 0: not set; it then is 4 as well
		test := func(t *testing.T, b *bench) {
			consumer := pushes{&pushing{Consumer: b.broker.Consumer(queue)}}
			b.cfg.Consumer, b.cfg.PrefetchMultiplier = consumer, multiplier
			var ran atomic.Int64
			b.reg.Register("app.sleep", func(seconds int) {
				time.Sleep(time.Duration(seconds) * time.Second)
				ran.Add(1)
			})
			b.start()
			const short, long = 400, 20
			for range short / 10 {
				for range 10 {
					b.send(canvas.Sig("app.sleep", 0))
				}
				b.sleep(5 * time.Millisecond)
			}
			if n, _ := consumer.told(); (n >= 150 && n <= 250) != (multiplier == 0) { // 2,000 a second for 100 ms
				t.Errorf("multiplier %d: while handlers are short, the broker hands over %d", multiplier, n)
			}
			for range long {
				b.send(canvas.Sig("app.sleep", 3600))
			}
			b.sleep(time.Second)
			n, most := consumer.told()
			if n != 8 || most > 250 {
				t.Errorf("multiplier %d: the slots are stuck, and the broker hands over %d, before at most %d", multiplier, n, most)
			}
			if s := b.w.Stats(); s.Active != 2 || s.Reserved > 8 {
				t.Errorf("multiplier %d: %+v, want 2 active and no more than 8 reserved", multiplier, s)
			}
			b.sleep(long * time.Hour)
			if n := ran.Load(); n != short+long {
				t.Errorf("multiplier %d: %d of %d tasks have run", multiplier, n, short+long)
			}
		}
		t.Run("", func(t *testing.T) { inBubble(t, test) })
	}
}
