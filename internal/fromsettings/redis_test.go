package fromsettings

import (
	"testing"
	"time"

	"github.com/apium/apium/backend/redisbackend"
)

// TestChordLease: what a worker has claimed of chords runs out before others take it for dead, whatever they wait.
func TestChordLease(t *testing.T) {
	for _, aliveFor := range []time.Duration{time.Second, 2 * time.Second, 6 * time.Second, time.Hour} {
		if lease := chordLease(aliveFor); lease <= 0 || lease >= aliveFor*2/3 || lease > redisbackend.DefaultChordLease {
			t.Errorf("%v, where a worker is alive for %v after its last sign of life", lease, aliveFor)
		}
	}
}
