package gossip

import (
	"testing"
	"time"
)

// A worker that listens in turns may hear a heartbeat at the beginning of one and the next at the end of another: what is between
// them, of the time that it has listened, is more than a worker that listens all the time would bear.
func TestPatienceInTurns(t *testing.T) {
	t.Parallel()
	const freq = 2 * time.Second
	for _, test := range []struct {
		taken  bool
		silent time.Duration // that it has listened, in two turns
		alive  bool
	}{
		{false, 2*freq - 1, true},
		{false, 2 * freq, false},
		{true, 2 * freq, true},
		{true, 3*freq - 1, true},
		{true, 3 * freq, false},
	} {
		start := time.Unix(1e9, 0)
		turns := turns{taken: test.taken}
		turns.listen(start, true)
		heard := &peer{freq: freq, heard: turns.listened(start)}
		first := start.Add(test.silent / 2)
		turns.listen(first, false)
		if second := first.Add(time.Hour); !turns.alive(heard, second) { // who does not listen misses nobody
			t.Errorf("%v: missed before the second turn", test)
		} else {
			turns.listen(second, true)
			if got := turns.alive(heard, second.Add(test.silent-test.silent/2)); got != test.alive {
				t.Errorf("%v: alive is %t", test, got)
			}
		}
	}
}
