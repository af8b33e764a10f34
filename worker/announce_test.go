package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// slowly lets time pass after messages have come back and before the worker knows it.
type slowly struct {
	broker.Publisher
	broker.Consumer
}

func (s slowly) Close() error { return errors.Join(s.Publisher.Close(), s.Consumer.Close()) }

func (s slowly) Publish(ctx context.Context, messages ...broker.Publication) error {
	defer time.Sleep(time.Millisecond)
	return s.Publisher.Publish(ctx, messages...)
}

func (s slowly) Requeue(ctx context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	defer time.Sleep(time.Millisecond)
	return s.Consumer.Requeue(ctx, place, deliveries...)
}

// TestWhatComesAgain: the end of a run is announced before the next one can be received.
func TestWhatComesAgain(t *testing.T) {
	for name, again := range map[string]struct {
		err  error
		kind string
	}{
		"retried":  {tasks.Retry(nil, tasks.RetryCountdown(0)), "retried"},
		"requeued": {tasks.Reject(true), "rejected Reject"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				slow := slowly{b.broker.Publisher(), b.broker.Consumer(queue)}
				b.cfg.Concurrency, b.cfg.Publisher, b.cfg.Consumer = 1, slow, slow
				runs := 0
				b.reg.Register("app.do", func(context.Context) error {
					if runs++; runs < 4 {
						return again.err
					}
					return nil
				}, tasks.AcksLate(true), tasks.MaxRetries(-1))
				b.start()
				b.send(canvas.Sig("app.do"))
				b.sleep(time.Second)
				var want []string
				for range 3 {
					want = append(want, "received", "started", again.kind)
				}
				b.wantEvents(append(want, "received", "started", "succeeded")...)
			})
		})
	}
}
