package worker_test

import (
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
)

// TestChordUnlockLooksAgain: a chord that is polled is looked at as often as is configured,
// unless its message says otherwise.
func TestChordUnlockLooksAgain(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval any
		want     time.Duration
	}{
		{"as configured", nil, 7 * time.Second},
		{"as the message says", 3, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.ChordRetryInterval = 7 * time.Second
				b.reg.Register("app.part", func() int { return 1 })
				b.reg.Register("app.sum", func(parts []int) int { return len(parts) })
				b.start()
				b.send(canvas.Sig("celery.chord_unlock", "group", canvas.Sig("app.sum").Set(canvas.TaskID("body")), tt.interval, nil,
					[]any{[]any{[]any{"part", nil}, nil}}))
				b.send(canvas.Sig("app.part").Set(canvas.TaskID("part")))
				b.wantResult("part", "SUCCESS 1")
				b.sleep(tt.want - time.Millisecond)
				b.wantResult("body", "")
				b.sleep(2 * time.Millisecond)
				b.wantResult("body", "SUCCESS 1")
			})
		})
	}
}
