package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/protocol/canvas"
)

// breaking is a backend whose connection breaks at its first calls of a kind.
type breaking struct {
	*membackend.Backend
	renewals, loads int // how often it does
}

var errBroken = errors.New("the connection is broken")

func (b *breaking) Renew(ctx context.Context, claim backend.ChordClaim, lease time.Duration) error {
	if err := b.Backend.Renew(ctx, claim, lease); err != nil || b.renewals == 0 {
		return err
	}
	b.renewals--
	return errBroken // the answer is lost
}

func (b *breaking) LoadMany(ctx context.Context, ids ...string) ([][]byte, error) {
	if b.loads > 0 {
		b.loads--
		return nil, errBroken
	}
	return b.Backend.LoadMany(ctx, ids...)
}

// TestChordsOutliveBrokenConnections: whoever completes a chord runs its body, whatever
// becomes of the connection meanwhile: nobody else would.
func TestChordsOutliveBrokenConnections(t *testing.T) {
	for name, breaks := range map[string]breaking{"claim": {renewals: 2}, "join": {loads: 2}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.add", add)
				b.reg.Register("app.total", func([]any) int { return 7 })
				breaks.Backend = b.results
				b.cfg.Store = &breaks
				b.start()
				group := canvas.Group(canvas.Sig("app.add", 1), canvas.Sig("app.add", 2))
				header := []canvas.Signature{canvas.Chain(canvas.Sig("app.add", 1, 2), group), canvas.Sig("app.add", 1, 2)}
				body := b.send(canvas.Chord(header, canvas.Sig("app.total")))
				b.sleep(time.Minute)
				b.wantResult(body, "SUCCESS 7")
				if breaks.renewals+breaks.loads > 0 {
					t.Error("the connection did not break")
				}
			})
		})
	}
}
