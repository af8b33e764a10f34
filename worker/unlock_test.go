package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// TestChordUnlockLooksAgain: a chord that is polled is looked at as often as is configured,
// unless its message says otherwise.
func TestChordUnlockLooksAgain(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval any
		want     time.Duration
	}{
		{"as configured", nil, 7 * time.Second},
		{"as the message says", 3, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.ChordRetryInterval = 7 * time.Second
				b.reg.Register("app.part", func() int { return 1 })
				b.reg.Register("app.sum", func(parts []int) int { return len(parts) })
				b.start()
				b.send(canvas.Sig("celery.chord_unlock", "group", canvas.Sig("app.sum").Set(canvas.TaskID("body")), tt.interval, nil,
					[]any{[]any{[]any{"part", nil}, nil}}))
				b.send(canvas.Sig("app.part").Set(canvas.TaskID("part")))
				b.wantResult("part", "SUCCESS 1")
				b.sleep(tt.want - time.Millisecond)
				b.wantResult("body", "")
				b.sleep(2 * time.Millisecond)
				b.wantResult("body", "SUCCESS 1")
			})
		})
	}
}

// unlock is the poll of a chord whose header is of two tasks, "first" and "second".
func unlock(body canvas.Signature, kwargs map[string]any) canvas.Signature {
	member := func(id string) any { return []any{[]any{id, nil}, nil} }
	return canvas.Sig("celery.chord_unlock", "the-group", body).Set(canvas.TaskID("unlock")).
		Kw(map[string]any{"result": []any{member("first"), member("second")}}).Kw(kwargs)
}

// What a chord that is polled comes to (celery.chord_unlock).
func TestChordUnlock(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second string // the task that is the second of the header; "": it never comes
		kwargs map[string]any
		ran    []string
		told   string // how what an errback is told begins
		body   string // how its result begins
	}{
		{"done", "second", nil, []string{`app.body [[["one"], ["two"]], "own"] parent=unlock root=unlock`}, "", `SUCCESS [[["one"], ["two"]], "own"]`},
		{
			"failed", "fail", nil, nil, `app.body[body] ["own"]{}: ChordError("ValueError('bad')"), no traceback`,
			`FAILURE {"exc_type": "ChordError", "exc_message": ["ValueError('bad')"], "exc_module": "celery.exceptions"}`,
		},
		{
			"given up", "",
			map[string]any{"max_retries": 2, "interval": 1},
			nil,
			`app.body[body] ["own"]{}: ChordError('chord_unlock could not be retried: MaxRetriesExceededError("Can\'t retry celery.chord_unlock[unlock] args:(`,
			`FAILURE {"exc_type": "ChordError", "exc_message": ["chord_unlock could not be retried: MaxRetriesExceededError(`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.Concurrency = 1
				var f failures
				l := b.echoes("app.body")
				b.echoes("app.first", "app.second")
				b.reg.Register("app.fail", func(string) error { return failing() })
				b.reg.Register("app.new", f.note, tasks.Errback())
				b.start()
				b.send(named("first", "one"))
				if tt.second != "" {
					b.send(canvas.Sig("app."+tt.second, "two").Set(canvas.TaskID("second")))
				}
				b.send(unlock(named("body", "own").LinkError(canvas.Sig("app.new")), tt.kwargs))
				b.sleep(time.Minute)
				if got := b.result("body"); !strings.HasPrefix(got, tt.body) {
					t.Errorf("result of the body = %s", got)
				}
				l.want(t, tt.ran...)
				if told := strings.Join(f.told, "\n"); (told == "") != (tt.told == "") || !strings.HasPrefix(told, tt.told) {
					t.Errorf("errbacks were told %s", told)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// TestChordUnlockOfChords: the error is that of the task that failed first, not that of the chord it failed.
func TestChordUnlockOfChords(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.echoes("app.body", "app.inner")
		b.reg.Register("app.fail", failing)
		b.start()
		b.send(canvas.Sig("app.fail").Set(canvas.TaskID("first")))
		b.send(unlock(named("inner"), map[string]any{"result": []any{[]any{[]any{"first", nil}, nil}}}))
		group := []any{[]any{"header", nil}, []any{[]any{[]any{"first", nil}, nil}}}
		b.send(unlock(named("body"), map[string]any{"result": []any{[]any{[]any{"inner", group}, nil}}}))
		b.sleep(time.Minute)
		b.wantResult("body", `FAILURE {"exc_type": "ChordError", "exc_message": ["ValueError('bad')"], "exc_module": "celery.exceptions"}`)
	})
}

// unreadable is a backend that cannot be read for a while.
type unreadable struct {
	*membackend.Backend
	until time.Time
}

func (u *unreadable) LoadMany(ctx context.Context, ids ...string) ([][]byte, error) {
	if time.Now().Before(u.until) {
		return nil, errors.New("the backend is away")
	}
	return u.Backend.LoadMany(ctx, ids...)
}

// A chord is polled again when the backend cannot be asked, as often as its message allows.
func TestChordUnlockWithoutABackend(t *testing.T) {
	for _, tt := range []struct {
		name string
		away time.Duration
		body string
	}{
		{"for a while", 90 * time.Second, "SUCCESS [[[], []]]"},
		{"for too long", time.Hour, `FAILURE {"exc_type": "ChordError", "exc_message": ["chord_unlock could not be retried: Exception('the backend is away')"], "exc_module": "celery.exceptions"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.Store = &unreadable{b.results, time.Now().Add(tt.away)}
				b.echoes("app.first", "app.second", "app.body")
				b.start()
				b.send(named("first"))
				b.send(named("second"))
				b.send(unlock(named("body"), map[string]any{"max_retries": 3, "interval": 60}))
				b.sleep(10 * time.Minute)
				b.wantResult("body", tt.body)
				b.wantQueued(0, 0)
			})
		})
	}
	t.Run("at all", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bench) {
			b.cfg.Store = nil
			l := b.echoes("app.body")
			b.start()
			b.send(unlock(named("body"), nil))
			b.wantLog("celery.chord_unlock: this worker has no result backend")
			l.want(t)
		})
	})
}

// bodyRefusingConsumer does not publish "app.body" with an acknowledgement, either.
type bodyRefusingConsumer struct {
	broker.Consumer
	to broker.Publisher
}

func (c *bodyRefusingConsumer) Unwrap() broker.Consumer { return c.Consumer }

func (c *bodyRefusingConsumer) Concluder(broker.Publisher) broker.Concluder {
	return &bodyRefusingConcluder{c.Consumer.(broker.Concluders).Concluder(c.to)}
}

type bodyRefusingConcluder struct{ broker.Concluder }

func (c *bodyRefusingConcluder) Conclude(ctx context.Context, conclusions ...broker.Conclusion) (lost []string, err error) {
	for _, conclusion := range conclusions {
		for i, m := range conclusion.Publish {
			if strings.Contains(string(m.Message.Headers), `"app.body"`) {
				return nil, &broker.RefusedError{Publication: m, Index: i, Err: broker.ErrUnroutable}
			}
		}
	}
	return c.Concluder.Conclude(ctx, conclusions...)
}

// TestPolledChordWhoseBodyIsRefused fails, as with Celery: nobody polls it any more, and who waits for its body would wait for ever.
func TestPolledChordWhoseBodyIsRefused(t *testing.T) {
	for name, concludes := range map[string]bool{"with the acknowledgement": true, "before it": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				var f failures
				b.echoes("app.first", "app.second", "app.body")
				b.reg.Register("app.new", f.note, tasks.Errback())
				b.cfg.Publisher = &bodyRefusing{b.cfg.Publisher, "app.body"}
				if b.cfg.Consumer = b.broker.Consumer(queue); concludes {
					b.cfg.Consumer = &bodyRefusingConsumer{b.cfg.Consumer, b.broker.Publisher()}
				}
				b.start()
				b.send(named("first", "one"))
				b.send(named("second", "two"))
				b.send(unlock(named("body", "own").LinkError(canvas.Sig("app.new")), nil))
				b.sleep(time.Minute)
				const why = "Callback error: OperationalError("
				if record := b.result("body"); !strings.HasPrefix(record, `FAILURE {"exc_type": "ChordError", "exc_message": ["`+why) {
					t.Errorf("the body's record: %s", record)
				}
				if told := strings.Join(f.told, "\n"); len(f.told) != 1 || !strings.Contains(told, why) {
					t.Errorf("errbacks were told %s", told)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}
