package brokertest

import (
	"context"
	"errors"
	"testing"

	"github.com/apium/apium/broker"
)

// heard is a message that was broadcast.
type heard struct {
	key     string
	message broker.Content
}

// subscribe listens until the test ends, and returns once it hears.
func (f *fixture) subscribe(exchange, bindingKey string) <-chan heard {
	f.t.Helper()
	all := make(chan heard, 100)
	ready := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- f.broadcaster.Subscribe(ctx, broker.Subscription{
			Exchange: exchange, BindingKey: bindingKey, Queue: "listener " + exchange + bindingKey,
			Handle: func(key string, message broker.Content) { all <- heard{key, message} },
			OnState: func(subscribed bool, _ error) {
				if subscribed {
					ready <- struct{}{}
				}
			},
		})
	}()
	f.t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, broker.ErrClosed) {
			f.t.Errorf("Subscribe: %v", err)
		}
	})
	<-ready
	return all
}

func testBroadcast(t *testing.T, f *fixture) {
	const mailbox, events = "celery.pidbox", "celeryev" // a broker may know what these are for
	plain, tasks, all := f.subscribe(mailbox, ""), f.subscribe(events, "task.#"), f.subscribe(events, "#")
	m := func(exchange, key string) broker.Publication {
		return broker.Publication{Exchange: exchange, RoutingKey: key, Message: Message("to "+key, 0)}
	}
	err := f.broadcaster.Broadcast(f.context(), m(mailbox, ""), m("another", "task.x"), m(events, "task.a.b"), m(events, "worker.c"), m(events, "task.d"))
	if err != nil {
		t.Fatal(err)
	}
	want := func(all <-chan heard, keys ...string) {
		t.Helper()
		for _, key := range keys {
			h := <-all
			if h.key != key {
				t.Errorf("heard %q, want %q", h.key, key)
			}
			wantMessage(t, h.message, Message("to "+key, 0))
		}
	}
	want(all, "task.a.b", "worker.c", "task.d")
	want(tasks, "task.a.b", "task.d")
	want(plain, "")
	if n := len(plain) + len(tasks) + len(all); n > 0 {
		t.Errorf("%d messages too many", n)
	}
}
