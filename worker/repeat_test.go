package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// breaking is a backend whose connection breaks at its first calls of a kind.
type breaking struct {
	*membackend.Backend
	renewals, loads int           // how often it does
	counts          int           // of several parts
	slow            time.Duration // what the first record takes
	finishes        time.Time     // when they work again
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

func (b *breaking) Count(ctx context.Context, parts ...backend.ChordPart) ([]backend.ChordCount, error) {
	counts, err := b.Backend.Count(ctx, parts...)
	if err != nil || len(parts) < 2 || b.counts == 0 {
		return counts, err
	}
	b.counts--
	return nil, errBroken // the answer is lost
}

func (b *breaking) Store(ctx context.Context, records ...backend.Record) error {
	time.Sleep(b.slow)
	b.slow = 0
	return b.Backend.Store(ctx, records...)
}

func (b *breaking) Finish(ctx context.Context, claim backend.ChordClaim, failed bool) error {
	if time.Now().Before(b.finishes) {
		return errBroken
	}
	return b.Backend.Finish(ctx, claim, failed)
}

// TestOnePartSeesToAChord: where several parts are counted together once more, as the answer was lost, each is told
// that the chord is complete. One of them runs the body, and the others do not take its place when it cannot say so.
func TestOnePartSeesToAChord(t *testing.T) {
	for name, options := range map[string][]tasks.Option{"early": nil, "late": {tasks.AcksLate(true)}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				breaks := &breaking{Backend: b.results, counts: 1, slow: time.Second, finishes: time.Now().Add(5 * time.Minute)}
				b.cfg.Store, b.cfg.Concurrency = breaks, 5
				b.reg.Register("app.add", add, options...)
				b.reg.Register("app.total", func([]any) int { return 7 })
				b.start()
				header := make([]canvas.Signature, 5)
				for i := range header {
					header[i] = canvas.Sig("app.add", i, 2)
				}
				b.send(canvas.Chord(header, canvas.Sig("app.total").Set(canvas.Queue("elsewhere"))))
				b.sleep(10 * time.Minute)
				if n := b.broker.Len("elsewhere"); n != 1 || breaks.counts > 0 {
					t.Errorf("the body was published %d times; %d answers were not lost", n, breaks.counts)
				}
			})
		})
	}
}

// TestChordsOutliveBrokenConnections: whoever completes a chord runs its body, whatever
// becomes of the connection meanwhile: nobody else would.
func TestChordsOutliveBrokenConnections(t *testing.T) {
	for name, breaks := range map[string]breaking{"claim": {renewals: 2}, "join": {loads: 2}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.add", add)
				b.reg.Register("app.total", func([]any) int { return 7 }, tasks.AcksLate(true)) // it is published
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
