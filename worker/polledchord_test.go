package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// polling leaves chords to celery.chord_unlock.
type polling struct{ *membackend.Backend }

func (polling) PollsChords() bool { return true }

// storing is a backend.Store: a field of that name would hide the method.
type storing interface{ backend.Store }

// listing counts the parts of chords, whose records it stores in the same step.
type listing struct {
	storing
	backend.Loader
	backend.Groups
	lists map[string][]byte
	left  map[string]int
	b     *membackend.Backend
	loose int // records of parts that were stored apart
}

func (l *listing) Close() error { return l.b.Close() }

func (l *listing) ListChord(_ context.Context, groupID string, size int, members []byte) error {
	l.lists[groupID], l.left[groupID] = members, size
	return nil
}

func (l *listing) Count(ctx context.Context, parts ...backend.ChordPart) ([]backend.ChordCount, error) {
	counts := make([]backend.ChordCount, len(parts))
	for i, part := range parts {
		if part.Record == nil {
			l.loose++
		} else if err := l.b.Store(ctx, *part.Record); err != nil {
			return nil, err
		}
		if l.left[part.GroupID]--; l.left[part.GroupID] == 0 {
			counts[i] = backend.ChordCount{
				State: backend.ChordComplete, Claim: backend.ChordClaim{GroupID: part.GroupID, Token: "t"}, Members: l.lists[part.GroupID],
			}
		}
	}
	return counts, nil
}

func (l *listing) Renew(context.Context, backend.ChordClaim, time.Duration) error { return nil }
func (l *listing) Finish(context.Context, backend.ChordClaim, bool) error         { return nil }

// TestChordsOfOtherBackends: chords of clients and of tasks run where the backend leaves them to
// celery.chord_unlock, and where it counts parts and finds their results in their records.
func TestChordsOfOtherBackends(t *testing.T) {
	for name, store := range map[string]func(*membackend.Backend) backend.Store{
		"polled": func(b *membackend.Backend) backend.Store { return polling{b} },
		"listed": func(b *membackend.Backend) backend.Store {
			return &listing{storing: b, Loader: b, Groups: b, b: b, lists: map[string][]byte{}, left: map[string]int{}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				results := store(b.results)
				b.cfg.Store = results
				var err error
				if b.client, err = client.New(client.Config{Publisher: b.broker.Publisher(), Loader: results.(backend.Loader)}); err != nil {
					t.Fatal(err)
				}
				b.reg.Register("app.one", func(n int) int { return n })
				b.reg.Register("app.fail", func() error { return tasks.Raise("ValueError", "no") })
				b.reg.Register("app.sum", func(parts []any) int { return len(parts) })
				chord := func(id string, header ...canvas.Signature) canvas.Signature {
					return canvas.Chord(header, canvas.Sig("app.sum").Set(canvas.TaskID(id)))
				}
				b.reg.Register("app.start", func(ctx context.Context) error {
					_, err := tasks.Send(ctx, chord("inner", canvas.Sig("app.one", 1), canvas.Sig("app.one", 2), canvas.Sig("app.one", 3)))
					return err
				})
				b.start()
				nested := canvas.Chain(canvas.Sig("app.one", 1), canvas.Group(canvas.Sig("app.sum", []int{1}).Immutable(), canvas.Sig("app.sum", []int{2}).Immutable()))
				b.send(chord("outer", nested, canvas.Sig("app.one", 2)))
				b.send(chord("failed", canvas.Sig("app.one", 1), canvas.Sig("app.fail")))
				b.send(canvas.Sig("app.start"))
				b.sleep(5 * time.Second)
				b.wantResult("outer", "SUCCESS 2")
				b.wantResult("inner", "SUCCESS 3")
				b.wantResult("failed", `FAILURE {"exc_type": "ChordError", "exc_message": ["ValueError('no')"], "exc_module": "celery.exceptions"}`)
				if l, ok := results.(*listing); ok && l.loose > 0 {
					t.Errorf("%d parts were counted without their records", l.loose)
				}
			})
		})
	}
}

// TestAddToChordNeedsABackendThatCan: as in Celery.
func TestAddToChordNeedsABackendThatCan(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Store = polling{b.results}
		b.reg.Register("app.grow", func(ctx context.Context) error {
			_, err := tasks.AddToChord(ctx, canvas.Sig("app.grow"))
			return err
		})
		b.start()
		b.send(canvas.Sig("app.grow").Set(canvas.TaskID("part"), canvas.RawOpt("chord", []byte(`{"task": "app.sum"}`)), canvas.Opt("group_id", "g")))
		b.wantResult("part", `FAILURE {"exc_type": "NotImplementedError", "exc_message": ["Backend does not support add_to_chord"], "exc_module": "builtins"}`)
	})
}
