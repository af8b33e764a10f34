package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/protocol/canvas"
)

// encoding is a backend that keeps records in another form, and has none for some results.
type encoding struct {
	*membackend.Backend
	encoded atomic.Int64 // how often it has encoded a record
	refuses bool
}

func (e *encoding) Encode(r backend.Record) (backend.Record, error) {
	e.encoded.Add(1)
	if e.refuses {
		return r, errors.New("can not serialize 'set' object")
	}
	r.Encoded = r.Document
	return r, nil
}

func (e *encoding) Store(ctx context.Context, records ...backend.Record) error {
	for _, r := range records {
		if r.Encoded == nil {
			e.encoded.Add(1)
		}
	}
	return e.Backend.Store(ctx, records...)
}

// TestResultsAreEncodedOnce: what finds out whether a result can be stored is what is stored.
func TestResultsAreEncodedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		store := &encoding{Backend: b.results}
		b.reg.Register("app.add", add)
		b.cfg.Store = store
		b.start()
		b.wantResult(b.send(canvas.Sig("app.add", 1, 2)), "SUCCESS 3")
		if n := store.encoded.Load(); n != 1 {
			t.Errorf("the record was encoded %d times", n)
		}
	})
}

// TestResultThatCannotBeStored: its task fails, and nothing follows from it, neither in the
// queue nor among its children.
func TestResultThatCannotBeStored(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add)
		b.cfg.Store = &encoding{Backend: b.results, refuses: true}
		b.start()
		next := canvas.Sig("app.add", 1)
		id := b.send(canvas.Sig("app.add", 1, 2).Link(next.Set(canvas.Queue("next"))))
		b.wantResult(id, `FAILURE {"exc_type": "EncodeError", "exc_message": ["TypeError(\"can not serialize 'set' object\")"], "exc_module": "kombu.exceptions"}`)
		if n := b.broker.Len("next"); n != 0 {
			t.Errorf("%d callbacks were published", n)
		}
		if record := b.record(id); !strings.Contains(record, `"children": []`) {
			t.Error(record)
		}
	})
}
