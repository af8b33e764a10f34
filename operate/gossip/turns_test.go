package gossip_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// In a large fleet a worker hears a bounded number of heartbeats, and still knows who lives: it loses nobody who does,
// and misses who does not.
func TestManyPeers(t *testing.T) {
	const size, bearable = 40, 10 // heartbeats a second; all together send 20
	inHood(t, func(h *hood) {
		for i := range size {
			h.enter(fmt.Sprintf("w%d@h", i))
		}
		h.sleep(time.Minute)
		for _, n := range h.all {
			n.heard.Store(0)
		}
		const watched = 2 * time.Minute
		h.sleep(watched)
		for _, n := range h.all {
			if got := len(n.Peers()); got != size-1 {
				t.Errorf("%s knows %d peers, want %d", n.name, got, size-1)
			}
			if got, want := n.heard.Load(), int64(bearable*watched.Seconds()); got < want/2 || got > want*3/2 {
				t.Errorf("%s has heard %d heartbeats in %v, want about %d", n.name, got, watched, want)
			}
			if n.log.Count("missed heartbeat") > 0 {
				t.Errorf("%s missed somebody who lives", n.name)
			}
		}
		h.all[1].leave()
		h.all[2].vanish()
		h.sleep(time.Second)
		h.enter("late@h")
		h.want(h.all[0], namesOf(h.all[2:]), `msg="w1@h left"`, `msg="late@h joined the party"`)
		h.all[0].Election("id", "task", []byte(`{"task": "t"}`))
		h.sleep(time.Minute)
		called := 0
		for i, n := range h.all {
			if called += len(n.called); i != 1 && i != 2 && i < size && n.log.Count("missed heartbeat from w2@h") != 1 {
				t.Errorf("%s did not miss who had vanished", n.name)
			}
		}
		if called != 1 {
			t.Errorf("%d have won the election", called)
		}
	})
}

func namesOf(all []*neighbor) string {
	var names []string
	for _, n := range all {
		names = append(names, n.name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
