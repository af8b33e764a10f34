package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// unfinished is a backend of workers that die before they finish their chords.
type unfinished struct {
	*membackend.Backend
	deaths int // how many are still to come
}

func (u *unfinished) Finish(ctx context.Context, claim backend.ChordClaim, failed bool) error {
	if u.deaths > 0 {
		u.deaths--
		return nil
	}
	return u.Backend.Finish(ctx, claim, failed)
}

// copies publishes a message again, and claims the copies.
func copies(t *testing.T, b *bench, consumer broker.Consumer, d broker.Delivery, n int) []broker.Delivery {
	t.Helper()
	var received protocol.Received
	d.Read(&received)
	message, err := received.Message()
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := b.broker.Publisher().Publish(t.Context(), broker.Publication{RoutingKey: queue, Message: message}); err != nil {
			t.Fatal(err)
		}
	}
	claimed, err := consumer.Claim(t.Context(), n)
	if err != nil || len(claimed) != n {
		t.Fatalf("%d copies, %v", len(claimed), err)
	}
	return claimed
}

// TestBodyIsPublishedOnce: the worker that completes a chord dies after it has published
// the body. Whoever gets the header's task again sees that the body has a result.
func TestBodyIsPublishedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		bodies := 0
		b.reg.Register("app.add", add, tasks.AcksLate(true))
		b.reg.Register("app.total", func([]int) int { bodies++; return 7 })
		b.cfg.Store = &unfinished{b.results, 1}
		body := b.send(canvas.Chord([]canvas.Signature{canvas.Sig("app.add", 1, 2)}, canvas.Sig("app.total")))
		consumer := b.broker.Consumer(queue)
		deliveries, err := consumer.Claim(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		deliveries = append(deliveries, copies(t, b, consumer, deliveries[0], 2)...)
		b.start()
		for i, d := range deliveries {
			var err error
			if i == 0 {
				err = broker.AbilitiesOf(consumer).Unclaimer.Unclaim(t.Context(), d)
			} else { // marked as redelivered
				err = consumer.Requeue(t.Context(), broker.Front, d)
			}
			if err != nil {
				t.Fatal(err)
			}
			b.sleep(2 * time.Minute)
			if bodies != 1 {
				t.Errorf("after delivery %d the body has run %d times", i+1, bodies)
			}
		}
		b.wantResult(body, "SUCCESS 7")
		b.wantQueued(0, 0)
	})
}

// TestNestedHeaderWithoutAResult: the results of a nested header are read from the records
// of its tasks. One of them keeps none, and another has failed: the body fails with that,
// though not before the time is over in which the missing one might have come.
func TestNestedHeaderWithoutAResult(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add)
		b.reg.Register("app.ignored", func() {}, tasks.IgnoreResult(true))
		b.reg.Register("app.fail", func() error { return tasks.Raise("ValueError", "bad") })
		b.reg.Register("app.total", func([]any) int { return 0 })
		b.start()
		for last, want := range map[string]string{"app.fail": "Join error: ValueError('bad')", "app.ignored": "Join error: TimeoutError('The operation timed out.')"} {
			group := canvas.Group(canvas.Sig("app.ignored").Immutable(), canvas.Sig(last).Immutable())
			header := []canvas.Signature{canvas.Chain(canvas.Sig("app.add", 1, 2), group), canvas.Sig("app.add", 1, 2)}
			body := b.send(canvas.Chord(header, canvas.Sig("app.total")))
			b.sleep(time.Minute)
			if got := b.result(body); !strings.Contains(got, want) {
				t.Errorf("with %s: the body's result is %s", last, got)
			}
		}
	})
}

// TestHooksSeeTheResultsOfAHeader: whoever is told of a body before or after it is published finds the results among its
// arguments, though its message is made without them being there.
func TestHooksSeeTheResultsOfAHeader(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.add", add)
				b.reg.Register("app.total", func(parts []int, more int) int { return parts[0] + parts[1] + more })
				var seen []string
				see := func(_ context.Context, task *protocol.Task) {
					if task.Name == "app.total" {
						seen = append(seen, string(task.Args))
					}
				}
				hooks := tasks.Hooks{BeforePublish: see}
				if when == "after" {
					hooks = tasks.Hooks{AfterPublish: see}
				}
				b.reg.Connect(hooks)
				b.start()
				body := b.send(canvas.Chord([]canvas.Signature{canvas.Sig("app.add", 1, 2), canvas.Sig("app.add", 3, 4)}, canvas.Sig("app.total", 5)))
				b.wantResult(body, "SUCCESS 15")
				if len(seen) != 1 || seen[0] != "[[3, 7], 5]" {
					t.Errorf("%s it is published: %q", when, seen)
				}
			})
		})
	}
}

// bodyRefusing is a broker that does not take the messages of some task.
type bodyRefusing struct {
	broker.Publisher
	task string
}

func (p *bodyRefusing) Publish(ctx context.Context, messages ...broker.Publication) error {
	for i, m := range messages {
		if strings.Contains(string(m.Message.Headers), p.task) {
			return &broker.RefusedError{Publication: m, Index: i, Err: broker.ErrUnroutable}
		}
	}
	return p.Publisher.Publish(ctx, messages...)
}

// TestChordWhoseBodyIsRefused fails, as with Celery: a body that is larger than what the broker takes never runs.
func TestChordWhoseBodyIsRefused(t *testing.T) {
	for name, late := range map[string]bool{"early": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.add", add, tasks.AcksLate(late))
				b.reg.Register("app.total", func([]int) {})
				b.reg.Register("app.failed", func(context.Context, any) int { return 1 }, tasks.Params("failure"))
				b.cfg.Publisher = &bodyRefusing{b.cfg.Publisher, "app.total"}
				b.start()
				header := []canvas.Signature{canvas.Sig("app.add", 1, 2), canvas.Sig("app.add", 3, 4)}
				body := b.send(canvas.Chord(header, canvas.Sig("app.total").LinkError(canvas.Sig("app.failed"))))
				b.sleep(time.Second)
				if record := b.record(body); !strings.Contains(record, `"FAILURE"`) || !strings.Contains(record, "ChordError") ||
					!strings.Contains(record, "Callback error: OperationalError(") {
					t.Errorf("the body's record: %s", record)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}
