package rabbitconn_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/internal/rabbitmemory"
	"github.com/apium/apium/settings/connection"
)

// TestBackSoon: who has lost a broker is back within a second or so after that is, however long it was away, and tells of attempts at Celery's
// pace. Where the broker refuses it, that is also the pace of the attempts.
func TestBackSoon(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		why      error
		away     time.Duration
		told     int
		attempts [2]int64 // at least, at most
		late     time.Duration
	}{
		"nobody reaches it": {errors.New("refused"), 19 * time.Second, 4, [2]int64{15, 45}, time.Second},
		"it refuses us":     {&amqp.Error{Code: amqp.AccessRefused, Server: true}, 19 * time.Second, 4, [2]int64{4, 4}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := rabbitmemory.New(rabbitmemory.Options{})
				defer server.Close()
				var away atomic.Bool
				var failed atomic.Int64
				var last atomic.Pointer[net.Conn]
				dial := func(context.Context, string, string) (net.Conn, error) {
					if away.Load() {
						failed.Add(1)
						return nil, c.why
					}
					ours, theirs := net.Pipe()
					last.Store(&theirs)
					server.Serve(theirs)
					return ours, nil
				}
				log := new(logtest.Buffer)
				cfg, err := rabbitconn.Parse("amqp://rabbit//", rabbitconn.Options{Options: connection.Options{Dial: dial}})
				if err != nil {
					t.Fatal(err)
				}
				h, err := rabbitconn.Hold(t.Context(), cfg, rabbitconn.Holding{Logger: slog.New(slog.NewTextHandler(log, nil))})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { h.Close(time.Now().Add(time.Second)) }()
				away.Store(true)
				(*last.Load()).Close()
				time.Sleep(c.away)
				if n := failed.Load(); n < c.attempts[0] || n > c.attempts[1] {
					t.Errorf("%d attempts", n)
				}
				if n := log.Count("Trying again in"); n != c.told {
					t.Errorf("told %d times", n)
				}
				away.Store(false)
				began := time.Now()
				if _, err := h.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > c.late {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
