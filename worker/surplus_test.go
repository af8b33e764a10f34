package worker_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
)

func TestClaimsAheadOnlyWhileHandlersAreShort(t *testing.T) {
	for _, multiplier := range []int{0, 4} { // 0: not set; it then is 4 as well
		test := func(t *testing.T, b *bench) {
			var mu sync.Mutex
			var ran []int
			b.reg.Register("app.sleep", func(n int, seconds int) {
				time.Sleep(time.Duration(seconds) * time.Second)
				mu.Lock()
				defer mu.Unlock()
				ran = append(ran, n)
			})
			b.cfg.PrefetchMultiplier = multiplier
			const short, long = 100, 300
			for n := range short + long {
				seconds := 0
				if n >= short {
					seconds = 3600
				}
				b.send(canvas.Sig("app.sleep", n, seconds))
			}
			b.start()
			held := b.w.Stats().Reserved
			if ahead := held > 8; ahead != (multiplier == 0) {
				t.Errorf("multiplier %d: %d requests wait for a slot", multiplier, held)
			}
			b.sleep(time.Second)
			s := b.w.Stats()
			if s.Active != 2 || s.Reserved < 4 || s.Reserved > 8 {
				t.Errorf("multiplier %d: after the slots are stuck: %+v, want 2 active and 4 to 8 reserved", multiplier, s)
			}
			b.wantQueued(long-2-s.Reserved, s.Reserved)
			b.sleep(long * time.Hour)
			slices.Sort(ran) // two slots: neighbours may swap
			if len(slices.Compact(ran)) != short+long || len(ran) != short+long {
				t.Errorf("multiplier %d: %d runs of %d tasks", multiplier, len(ran), short+long)
			}
		}
		t.Run("", func(t *testing.T) { inBubble(t, test) })
	}
}
