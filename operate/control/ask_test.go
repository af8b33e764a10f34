package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol"
)

// asking is a client, and nodes that answer it.
type asking struct {
	server *redistest.Server
	broker *redisbroker.Publisher
	client control.Client
}

func newAsking(t *testing.T) *asking {
	t.Helper()
	a := &asking{server: redistest.Start(t)}
	var err error
	if a.broker, err = redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: a.server.URL(0)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.broker.Close() })
	a.client = control.Client{Broadcaster: a.broker, Asker: a.broker}
	return a
}

// node answers every request with what answer returns, byte for byte, nil: not at all.
func (a *asking) node(t *testing.T, answer func(r *protocol.ControlRequest) *protocol.Message) {
	t.Helper()
	listens := make(chan struct{})
	var d protocol.Decoder
	go func() {
		_ = a.broker.Subscribe(t.Context(), broker.Subscription{
			Exchange: "celery.pidbox",
			Handle: func(_ string, message broker.Content) {
				var received protocol.Received
				message.Read(&received)
				r, err := d.DecodeControlRequest(&received)
				if err != nil {
					t.Errorf("request %s: %v", message.Text(), err)
					return
				}
				if reply := answer(r); reply != nil {
					if _, err := a.broker.Reply(context.Background(), broker.Publication{
						Exchange: r.ReplyTo.Exchange, RoutingKey: r.ReplyTo.RoutingKey, Message: *reply,
					}, time.Minute); err != nil {
						t.Error(err)
					}
				}
			},
			OnState: func(subscribed bool, _ error) {
				if subscribed {
					close(listens)
				}
			},
		})
	}()
	select {
	case <-listens:
	case <-time.After(time.Minute):
		t.Fatal("a node does not hear requests")
	}
}

// echo replies with what was asked.
func echo(node string) func(r *protocol.ControlRequest) *protocol.Message {
	return func(r *protocol.ControlRequest) *protocol.Message {
		reply := protocol.ControlReply{
			Node: node, Ticket: r.Ticket, Value: fmt.Appendf(nil, `{"ok": ["%s", %s, "%v"]}`, r.Method, r.Arguments, r.Destination),
		}
		message, err := reply.Encode(nil)
		if err != nil {
			panic(err)
		}
		return &message
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	a := newAsking(t)
	a.node(t, echo("a@h"))
	a.node(t, echo("b@h"))
	var heard []string
	replies, err := a.client.Ask(t.Context(), control.Question{
		Command: "revoke", Arguments: []byte(`{"task_id": ["x"]}`), Destination: []string{"a@h", "b@h"}, Timeout: time.Minute,
	}, func(r control.Reply) { heard = append(heard, r.Node) })
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i, r := range replies {
		got[r.Node] = string(r.Value)
		if heard[i] != r.Node {
			t.Errorf("heard %q, returned %q", heard, r.Node)
		}
	}
	want := map[string]string{
		"a@h": `{"ok": ["revoke", {"task_id": ["x"]}, "[a@h b@h]"]}`,
		"b@h": `{"ok": ["revoke", {"task_id": ["x"]}, "[a@h b@h]"]}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	a.noTrace(t)
}

// noTrace fails if a question has left anything in Redis but the mark of its publisher, which
// goes when that is closed.
func (a *asking) noTrace(t *testing.T) {
	t.Helper()
	keys, err := redis.Strings(a.server.Do(t, "KEYS", "*"), nil)
	keys = slices.DeleteFunc(keys, func(key string) bool { return strings.HasPrefix(key, "apium.once.") })
	if err != nil || len(keys) > 0 {
		t.Errorf("left in Redis: %q, %v", keys, err)
	}
}

func TestAskEverybody(t *testing.T) {
	t.Parallel()
	a := newAsking(t)
	a.node(t, echo("a@h"))
	replies, err := a.client.Ask(t.Context(), control.Question{Command: "ping", Timeout: 300 * time.Millisecond}, nil)
	if err != nil || len(replies) != 1 || string(replies[0].Value) != `{"ok": ["ping", {}, "[]"]}` {
		t.Errorf("%q, %v", replies, err)
	}
	a.noTrace(t)
}

func TestAskNobody(t *testing.T) {
	t.Parallel()
	a := newAsking(t)
	for _, timeout := range []time.Duration{0, 50 * time.Millisecond} {
		replies, err := a.client.Ask(t.Context(), control.Question{Command: "ping", Timeout: timeout}, nil)
		if err != nil || replies != nil {
			t.Errorf("%q, %v", replies, err)
		}
	}
	a.noTrace(t)
}

// A reply that cannot be read takes no other with it.
func TestAskAndReadRubbish(t *testing.T) {
	t.Parallel()
	a := newAsking(t)
	a.node(t, func(*protocol.ControlRequest) *protocol.Message {
		return &protocol.Message{Body: []byte("rubbish"), ContentType: protocol.ContentTypeJSON}
	})
	a.node(t, echo("b@h"))
	start := time.Now()
	replies, err := a.client.Ask(t.Context(), control.Question{
		Command: "ping", Destination: []string{"a@h", "b@h"}, Timeout: time.Minute,
	}, nil)
	if time.Since(start) > 50*time.Second {
		t.Error("it waited for a third reply")
	}
	if len(replies) != 1 || replies[0].Node != "b@h" || err == nil || !strings.Contains(err.Error(), "reply to ping") {
		t.Errorf("%q, %v", replies, err)
	}
	a.noTrace(t)
}

func TestAskIsInterrupted(t *testing.T) {
	t.Parallel()
	a := newAsking(t)
	ctx, cancel := context.WithCancel(t.Context())
	a.node(t, func(*protocol.ControlRequest) *protocol.Message { cancel(); return nil })
	replies, err := a.client.Ask(ctx, control.Question{Command: "ping", Timeout: time.Hour}, nil)
	if !errors.Is(err, context.Canceled) || replies != nil {
		t.Errorf("%q, %v", replies, err)
	}
	a.noTrace(t)
}
