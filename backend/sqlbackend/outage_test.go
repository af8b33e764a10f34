package sqlbackend_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
)

// A database that is away is an error for all of a call, and told of once. Who waits, waits on; when
// it is back, all goes on.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			server := sqltest.Start(t, dialect)
			db := server.Database(t)
			var mu sync.Mutex
			var states []bool
			b := open(t, sqlbackend.Config{Layout: sqlbackend.SQLAlchemy, URL: db.URL(), OnState: func(connected bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				if connected != (err == nil) {
					t.Errorf("connected %v, and %v", connected, err)
				}
				states = append(states, connected)
			}})
			if err := b.Store(ctx, backendtest.Record("SUCCESS", "before", "1")); err != nil {
				t.Fatal(err)
			}
			woken := make(chan error, 1)
			go func() {
				_, err := b.Wait(ctx, "after")
				woken <- err
			}()
			server.Stop()
			for range 3 {
				var refused *backend.RecordError
				if err := b.Store(ctx, backendtest.Record("SUCCESS", "after", "1")); err == nil || errors.As(err, &refused) {
					t.Fatalf("Store without a database: %v", err)
				}
				if _, err := b.Load(ctx, "before"); err == nil || errors.Is(err, backend.ErrNotFound) {
					t.Fatalf("Load without a database: %v", err)
				}
				if b.Ping(ctx) == nil {
					t.Fatal("Ping without a database")
				}
			}
			server.Restart(t)
			if err := b.Store(ctx, backendtest.Record("SUCCESS", "after", "1")); err != nil {
				t.Fatal(err)
			}
			if err := <-woken; err != nil {
				t.Errorf("who waited: %v", err)
			}
			for _, id := range []string{"before", "after"} {
				if _, err := b.Load(ctx, id); err != nil {
					t.Error(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if len(states) != 2 || states[0] || !states[1] || b.Reconnects() != 1 {
				t.Errorf("told of %v, %d reconnects", states, b.Reconnects())
			}
		})
	}
}
