package membackend_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/membackend"
)

var features = backendtest.Features{Loads: true, Chords: true, Groups: true, Verbatim: true}

func TestBackend(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, features, func(*testing.T) backend.Store { return membackend.New() })
}

// wrapped has the abilities of what it wraps.
type (
	wrapped struct{ inner }
	inner   interface{ backend.Store }
)

func (w wrapped) Unwrap() backend.Store { return w.inner }

// plain has none.
type plain struct{ inner }

// A backend that promises nothing is not asked for it.
func TestPlainBackend(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, backendtest.Features{}, func(*testing.T) backend.Store { return plain{membackend.New()} })
}

func TestWrappedBackend(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, features, func(*testing.T) backend.Store { return wrapped{wrapped{membackend.New()}} })
}

func TestWaitBlocksDurably(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := membackend.New()
		go func() {
			time.Sleep(time.Hour)
			if err := b.Store(t.Context(), backendtest.Record("SUCCESS", "id", "1")); err != nil {
				t.Error(err)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		if _, err := b.Wait(ctx, "id"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after 30 minutes: %v", err)
		}
		if _, err := b.Wait(t.Context(), "id"); err != nil {
			t.Error(err)
		}
		b.Close()
		if _, err := b.Load(t.Context(), "id"); !errors.Is(err, backend.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
