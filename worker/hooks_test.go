package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// calls notes what hooks are called, in order.
type calls struct {
	mu    sync.Mutex
	names []string
}

func (c *calls) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := c.names
	c.names = nil
	return names
}

// hooks notes every call; with panics, each panics after that.
func (c *calls) hooks(prefix string, panics bool) tasks.Hooks {
	note := func(format string, args ...any) {
		c.add(prefix+format, args...)
		if panics {
			panic("the hook is broken")
		}
	}
	return tasks.Hooks{
		WorkerInit:         func(hostname string) { note("init %s", hostname) },
		WorkerProcessInit:  func(string) { note("process init") },
		WorkerReady:        func(string) { note("ready") },
		WorkerShuttingDown: func(_, how string) { note("shutting down %s", how) },
		WorkerShutdown:     func(string) { note("shutdown") },
		TaskReceived:       func(req *tasks.Request) { note("received %s", req.Name) },
		TaskPrerun:         func(_ context.Context, req *tasks.Request) { note("prerun %s", req.Name) },
		TaskPostrun: func(_ context.Context, _ *tasks.Request, state protocol.State, result []byte) {
			note("postrun %s %s", state, result)
		},
		TaskSuccess: func(_ context.Context, _ *tasks.Request, result []byte) { note("success %s", result) },
		TaskFailure: func(_ context.Context, _ *tasks.Request, exc *protocol.Exception) { note("failure %s", exc.Repr()) },
		TaskRetry:   func(_ context.Context, _ *tasks.Request, reason *tasks.RetryError) { note("retry %v", reason.Cause) },
		TaskRevoked: func(_ context.Context, _ *tasks.Request, terminated, expired bool) {
			note("revoked %t %t", terminated, expired)
		},
		TaskRejected: func([]byte, error) { note("rejected") },
		TaskUnknown:  func(_ []byte, name, _ string) { note("unknown %s", name) },
		BeforePublish: func(_ context.Context, task *protocol.Task) {
			note("before publish %s %d", task.Name, task.Retries)
		},
		AfterPublish: func(_ context.Context, task *protocol.Task) { note("after publish %s %d", task.Name, task.Retries) },
	}
}

func registerHooked(b *bench) {
	b.reg.Register("app.add", add)
	b.reg.Register("app.fail", func() error { return tasks.Raise("ValueError", "bad") })
	b.reg.Register("app.retry", func() error { return tasks.Retry(errors.New("again"), tasks.RetryQueue("other")) })
	b.reg.Register("app.ignore", tasks.Ignore)
	b.reg.Register("app.reject", func() error { return tasks.Reject(false) })
	b.reg.Register("app.give_back", func() error { return tasks.Reject(true) }) // it is acknowledged early
	b.reg.Register("app.late", func() { time.Sleep(2 * time.Second) }, tasks.TimeLimit(500*time.Millisecond))
	b.reg.Register("app.send", func(ctx context.Context) error {
		_, err := tasks.Send(ctx, canvas.Sig("app.other"), canvas.Queue("other"))
		return err
	})
	b.reg.Register("app.wait", func(ctx context.Context) { <-ctx.Done() })
}

func TestHooks(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		registerHooked(b)
		var c calls
		b.reg.Connect(c.hooks("", false))
		b.start()
		want := func(what string, names ...string) {
			t.Helper()
			if got := c.take(); !slices.Equal(got, names) {
				t.Errorf("%s: hooks %q\nwant %q", what, got, names)
			}
		}
		want("start", "init celery@test", "process init", "ready")
		b.send(canvas.Sig("app.add", 1, 2))
		want("success", "received app.add", "prerun app.add", "success 3", "postrun SUCCESS 3")
		b.send(canvas.Sig("app.fail"))
		want("failure", "received app.fail", "prerun app.fail", "failure ValueError('bad')", "postrun FAILURE")
		b.send(canvas.Sig("app.retry"))
		want("retry", "received app.retry", "prerun app.retry", "before publish app.retry 1", "retry again", "postrun RETRY", "after publish app.retry 1")
		b.send(canvas.Sig("app.reject"))
		want("reject", "received app.reject", "prerun app.reject", "postrun REJECTED")
		b.send(canvas.Sig("app.give_back"))
		want("give back", "received app.give_back", "prerun app.give_back", "postrun REJECTED")
		b.send(canvas.Sig("app.late"))
		b.sleep(time.Second)
		want("too late", "received app.late", "prerun app.late", "failure TimeLimitExceeded(0.5)")
		b.sleep(time.Second)
		want("at last", "postrun FAILURE")
		b.send(canvas.Sig("app.ignore"))
		want("ignore", "received app.ignore", "prerun app.ignore", "postrun IGNORED")
		b.send(canvas.Sig("app.send"))
		want("send", "received app.send", "prerun app.send", "before publish app.other 0", "after publish app.other 0", "success null", "postrun SUCCESS null")
		b.send(canvas.Sig("app.add").Set(canvas.Expires(-time.Second)))
		want("expired", "revoked false true")
		b.send(canvas.Sig("no.such"))
		want("unknown", "unknown no.such")
		id := b.send(canvas.Sig("app.wait"))
		if _, err := b.w.Operations().Terminate(15, id); err != nil {
			t.Error(err)
		}
		b.sleep(time.Second)
		want("terminated", "received app.wait", "prerun app.wait", "revoked true false", "postrun REVOKED")
		b.warm()
		<-b.ended
		want("end", "shutting down Warm", "shutdown")
	})
}

// The context that TaskContext makes is that of the handler and of all hooks that are told of the run.
func TestTaskContext(t *testing.T) {
	type key struct{}
	inBubble(t, func(t *testing.T, b *bench) {
		registerHooked(b)
		var c calls
		note := func(ctx context.Context, what string) {
			from := "nobody"
			if req := tasks.Current(ctx); req != nil {
				from = req.Name
			}
			c.add("%s by %s in %v", what, from, ctx.Value(key{}))
		}
		b.reg.Connect(tasks.Hooks{
			TaskContext: func(ctx context.Context, req *tasks.Request) context.Context {
				return context.WithValue(ctx, key{}, req.ID)
			},
			TaskPrerun:  func(ctx context.Context, _ *tasks.Request) { note(ctx, "prerun") },
			TaskPostrun: func(ctx context.Context, _ *tasks.Request, _ protocol.State, _ []byte) { note(ctx, "postrun") },
			TaskSuccess: func(ctx context.Context, _ *tasks.Request, _ []byte) { note(ctx, "success") },
			TaskFailure: func(ctx context.Context, _ *tasks.Request, _ *protocol.Exception) { note(ctx, "failure") },
			TaskRetry:   func(ctx context.Context, _ *tasks.Request, retry *tasks.RetryError) { note(ctx, retry.Reason) },
			TaskRevoked: func(ctx context.Context, _ *tasks.Request, _, _ bool) { note(ctx, "revoked") },
			BeforePublish: func(ctx context.Context, task *protocol.Task) {
				note(ctx, "publish "+task.Name)
				if ctx.Err() != nil && task.Name != "app.other" { // which the handler sends itself
					t.Errorf("publishing %s: %v", task.Name, ctx.Err())
				}
			},
		})
		b.reg.Register("app.see", func(ctx context.Context) { note(ctx, "handler") })
		b.start()
		for _, tt := range []struct {
			sig  canvas.Signature
			want []string
		}{
			{
				canvas.Sig("app.see").Link(canvas.Sig("app.next").Set(canvas.Queue("other"))),
				[]string{"prerun", "handler", "publish app.next", "success", "postrun"},
			},
			{
				canvas.Sig("app.fail").LinkError(canvas.Sig("app.error").Set(canvas.Queue("other"))),
				[]string{"prerun", "publish app.error", "failure", "postrun"},
			},
			{canvas.Sig("app.retry"), []string{"prerun", "publish app.retry", "Retry in 180s: Exception('again')", "postrun"}},
			{canvas.Sig("app.send"), []string{"prerun", "publish app.other", "success", "postrun"}},
		} {
			id := b.send(tt.sig)
			for i, what := range tt.want {
				tt.want[i] = what + " by " + tt.sig.Task() + " in " + id
			}
			if got := c.take(); !slices.Equal(got, tt.want) {
				t.Errorf("hooks %q\nwant %q", got, tt.want)
			}
		}
		b.send(canvas.Sig("app.see").Set(canvas.Expires(-time.Second)))
		if got, want := c.take(), []string{"revoked by nobody in <nil>"}; !slices.Equal(got, want) {
			t.Errorf("hooks %q\nwant %q", got, want)
		}
	})
}

func TestHookForAMessageThatIsNoTask(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var c calls
		b.reg.Connect(c.hooks("", false))
		b.cfg.Consumer = &scripted{messages: []string{"garbage"}}
		b.start()
		if got := c.take(); !slices.Contains(got, "rejected") {
			t.Errorf("hooks %q", got)
		}
	})
}

// A hook that panics changes nothing, and those after it are called.
func TestHooksThatPanic(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		registerHooked(b)
		var c calls
		b.reg.Connect(c.hooks("first ", true))
		b.reg.Connect(c.hooks("second ", false))
		b.start()
		b.wantResult(b.send(canvas.Sig("app.add", 1, 2)), "SUCCESS 3")
		b.send(canvas.Sig("app.retry"))
		b.send(canvas.Sig("app.send"))
		b.wantLog("A TaskPrerun hook panicked: the hook is broken")
		got := c.take()
		for i := 0; i < len(got); i += 2 {
			first, second := strings.TrimPrefix(got[i], "first "), strings.TrimPrefix(got[min(i+1, len(got)-1)], "second ")
			if first != second {
				t.Fatalf("hooks %q: not each first by the first and then by the second", got)
			}
		}
		b.wantQueued(0, 0)
		if n := b.broker.Len("other"); n != 2 {
			t.Errorf("%d messages were published, want 2", n)
		}
	})
}

// What BeforePublish adds to a task is in its message.
func TestBeforePublishChangesTheMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		registerHooked(b)
		b.reg.Connect(tasks.Hooks{BeforePublish: func(_ context.Context, task *protocol.Task) {
			task.Headers = []byte(`{"x-trace": "abc"}`)
		}})
		var headers string
		b.reg.Register("app.other", tasks.HandlerFunc(func(_ context.Context, req *tasks.Request) (any, error) {
			headers = string(req.Headers)
			return nil, nil
		}))
		b.cfg.Consumer = b.broker.Consumer(queue, "other")
		b.start()
		b.send(canvas.Sig("app.send"))
		if !strings.Contains(headers, `"x-trace": "abc"`) {
			t.Errorf("headers = %s", headers)
		}
	})
}

func TestMiddleware(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var c calls
		wrap := func(name string) tasks.Middleware {
			return func(next tasks.Handler) tasks.Handler {
				return tasks.HandlerFunc(func(ctx context.Context, req *tasks.Request) (result any, err error) {
					c.add("%s before %s", name, req.Name)
					defer func() {
						if value := recover(); value != nil && name == "inner" {
							err = fmt.Errorf("recovered: %v", value)
						}
						c.add("%s after %v", name, err)
					}()
					return next.Handle(ctx, req)
				})
			}
		}
		b.reg.Register("app.add", add)
		b.reg.Use(wrap("outer"), wrap("inner"))
		b.reg.Register("app.panic", func() { panic("boom") })
		b.start()
		b.wantResult(b.send(canvas.Sig("app.add", 1, 2)), "SUCCESS 3")
		want := []string{"outer before app.add", "inner before app.add", "inner after <nil>", "outer after <nil>"}
		if got := c.take(); !slices.Equal(got, want) {
			t.Errorf("calls %q, want %q", got, want)
		}
		b.wantResult(b.send(canvas.Sig("app.panic")),
			`FAILURE {"exc_type": "Exception", "exc_message": ["recovered: boom"], "exc_module": "builtins"}`)
		want = []string{"outer before app.panic", "inner before app.panic", "inner after recovered: boom", "outer after recovered: boom"}
		if got := c.take(); !slices.Equal(got, want) {
			t.Errorf("calls %q, want %q", got, want)
		}
	})
}
