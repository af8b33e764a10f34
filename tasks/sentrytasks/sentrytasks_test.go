package sentrytasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sentrytasks"
	"github.com/apium/apium/tasks/taskstest"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// carried are the headers of a message from Python with a trace.
var carried = canvas.Headers(map[string]any{"headers": map[string]any{
	"sentry-trace": traceID + "-" + spanID + "-1", "baggage": "sentry-trace_id=" + traceID + ",sentry-sample_rand=0.25",
}})

// hub returns a hub of its own, and where its events go.
func hub(t *testing.T, options sentry.ClientOptions) (*sentry.Hub, *sentry.MockTransport) {
	t.Helper()
	sent := &sentry.MockTransport{}
	options.Dsn, options.Transport = "http://public@localhost/1", sent
	client, err := sentry.NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return sentry.NewHub(client, sentry.NewScope()), sent
}

var tracing = sentry.ClientOptions{EnableTracing: true, TracesSampleRate: 1}

// reported runs a task and returns the events of it, and its transaction; nil: there is none.
func reported(t *testing.T, options sentry.ClientOptions, register func(reg *tasks.Registry), set ...canvas.Option) (events []*sentry.Event, transaction *sentry.Event) {
	t.Helper()
	reg := tasks.NewRegistry()
	register(reg)
	synctest.Test(t, func(t *testing.T) {
		hub, sent := hub(t, options)
		sentrytasks.Connect(reg, sentrytasks.WithHub(hub))
		taskstest.Apply(t, reg, canvas.Sig("shop.do", "pen").Set(set...), taskstest.FollowRetries())
		time.Sleep(time.Hour) // until handlers return for whom nobody waits
		for _, event := range sent.Events() {
			if event.Type == "transaction" {
				transaction = event
			} else {
				events = append(events, event)
			}
		}
	})
	return events, transaction
}

// of finds the span of an operation.
func of(t *testing.T, transaction *sentry.Event, op string) *sentry.Span {
	t.Helper()
	for _, span := range transaction.Spans {
		if span.Op == op {
			return span
		}
	}
	t.Fatalf("there is no %s", op)
	return nil
}

func TestRunContinuesTheTrace(t *testing.T) {
	var next *protocol.Task
	_, run := reported(t, tracing, func(reg *tasks.Registry) {
		reg.Register("shop.do", func(ctx context.Context, _ string) error {
			_, err := tasks.Send(ctx, canvas.Sig("shop.next").Set(canvas.Headers(map[string]any{"mine": "h", "baggage": "other=1,sentry-release=r9"})))
			return err
		})
		reg.Connect(tasks.Hooks{AfterPublish: func(_ context.Context, task *protocol.Task) { next = task }})
	}, carried)
	trace := run.Contexts["trace"]
	if trace["trace_id"].(sentry.TraceID).String() != traceID || trace["parent_span_id"].(sentry.SpanID).String() != spanID || run.Tags["celery_task_id"] == "" {
		t.Errorf("the run is %v, tags %v", trace, run.Tags)
	}
	process, submit := of(t, run, "queue.process"), of(t, run, "queue.submit.celery")
	if submit.ParentSpanID != process.SpanID || of(t, run, "queue.publish").ParentSpanID != submit.SpanID {
		t.Error("what the handler has sent is no part of it")
	}
	inner := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(next.Header("headers")), &inner); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sentry-trace", "baggage", "sentry-task-enqueued-time", "mine"} {
		if got := strings.Trim(string(inner[name]), `"`); got == "" || got != next.Header(name) {
			t.Errorf("%s: %q outside, %q inside", name, next.Header(name), got)
		}
	}
	if got, want := next.Header("sentry-trace"), traceID+"-"+submit.SpanID.String()+"-1"; got != want {
		t.Errorf("the message says %s, not %s", got, want)
	}
	if got := next.Header("baggage"); got != "other=1,sentry-release=r9,sentry-trace_id="+traceID+",sentry-sample_rand=0.25" &&
		got != "other=1,sentry-release=r9,sentry-sample_rand=0.25,sentry-trace_id="+traceID {
		t.Errorf("its baggage is %s", got)
	}
}

// A trace that is not sampled stays so, and without tracing it goes on all the same.
func TestSampling(t *testing.T) {
	for name, tt := range map[string]struct {
		options   sentry.ClientOptions
		sampled   string
		keeps     bool
		wantFlag  string
		wantEvent bool
	}{
		"not sampled":    {tracing, "-0", false, "-0", false},
		"sampled":        {sentry.ClientOptions{EnableTracing: true}, "-1", false, "-1", true},
		"nobody says":    {tracing, "", false, "-1", true},
		"without traces": {sentry.ClientOptions{}, "-1", false, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			var next *protocol.Task
			_, run := reported(t, tt.options, func(reg *tasks.Registry) {
				reg.Register("shop.do", func(ctx context.Context, _ string) error {
					_, err := tasks.Send(ctx, canvas.Sig("shop.next"))
					return err
				})
				reg.Connect(tasks.Hooks{AfterPublish: func(_ context.Context, task *protocol.Task) { next = task }})
			}, canvas.Headers(map[string]any{"sentry-trace": traceID + "-" + spanID + tt.sampled}))
			if got := next.Header("sentry-trace"); !strings.HasPrefix(got, traceID+"-") || strings.TrimPrefix(got[len(traceID)+1+len(spanID):], tt.wantFlag) != "" {
				t.Errorf("the message says %s", got)
			}
			if (run != nil) != tt.wantEvent {
				t.Errorf("transaction %v", run)
			}
		})
	}
}

// However a run ends, Sentry is told the right thing, once.
func TestHowRunsEnd(t *testing.T) {
	busy := errors.New("busy")
	var nowhere *int
	for name, tt := range map[string]struct {
		handler any
		opts    []tasks.Option
		status  sentry.SpanStatus
		want    string // of the event; "": there is none
		stack   bool   // is the handler's alone; false: there is none
	}{
		"well":         {func(string) {}, nil, sentry.SpanStatusOK, "", false},
		"badly":        {func(string) error { return tasks.Raise("ValueError", "bad", 1) }, nil, sentry.SpanStatusInternalError, "ValueError|('bad', 1)", true},
		"own class":    {func(string) error { return tasks.Raise("shop.errors.Sold", "pen") }, nil, sentry.SpanStatusInternalError, "shop.errors.Sold|pen", true},
		"wrapped":      {func(string) error { return fmt.Errorf("at the bank: %w", tasks.Raise("ValueError", "bad")) }, nil, sentry.SpanStatusInternalError, "ValueError|bad ValueError|at the bank: bad", false},
		"a Go error":   {func(string) error { return fmt.Errorf("at the bank: %w", busy) }, nil, sentry.SpanStatusInternalError, "*errors.errorString|busy *fmt.wrapError|at the bank: busy", false},
		"in a panic":   {func(string) { panic("oh") }, nil, sentry.SpanStatusInternalError, "RuntimeError|oh", true},
		"nil":          {func(string) { *nowhere = 1 }, nil, sentry.SpanStatusInternalError, "RuntimeError|runtime error: invalid memory address or nil pointer dereference", true},
		"expected":     {func(string) error { return busy }, []tasks.Option{tasks.Throws(func(err error) bool { return errors.Is(err, busy) })}, sentry.SpanStatusInternalError, "", false},
		"without word": {func(string) error { return tasks.Ignore() }, nil, sentry.SpanStatusAborted, "", false},
		"rejecting":    {func(string) error { return tasks.RejectWithReason("no", false) }, nil, sentry.SpanStatusAborted, "", false},
		"called wrong": {func(_, _ string) {}, []tasks.Option{tasks.Params("x, y")}, sentry.SpanStatusInternalError, "TypeError|do() missing 1 required positional argument: 'y'", false},
		"retried in vain": {
			func(string) error { return tasks.Retry(busy) },
			[]tasks.Option{tasks.MaxRetries(1), tasks.RetryDelay(time.Second)},
			sentry.SpanStatusInternalError, "*errors.errorString|busy", false,
		},
		"retried in vain, expected": {
			func(string) error { return tasks.Retry(busy) },
			[]tasks.Option{tasks.MaxRetries(1), tasks.RetryDelay(time.Second), tasks.Throws(func(err error) bool { return errors.Is(err, busy) })},
			sentry.SpanStatusInternalError, "", false,
		},
		"told to hurry": {
			func(ctx context.Context, _ string) error {
				<-ctx.Done()
				return fmt.Errorf("at the bank: %w", ctx.Err())
			},
			[]tasks.Option{tasks.SoftTimeLimit(time.Minute)},
			sentry.SpanStatusInternalError, "billiard.exceptions.SoftTimeLimitExceeded|SoftTimeLimitExceeded()", false,
		},
		"too late": {
			func(string) { time.Sleep(2 * time.Minute) },
			[]tasks.Option{tasks.TimeLimit(time.Minute)},
			sentry.SpanStatusInternalError, "billiard.exceptions.TimeLimitExceeded|TimeLimitExceeded(60)", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			events, run := reported(t, tracing, func(reg *tasks.Registry) {
				reg.Register("shop.do", tt.handler, tt.opts...)
				reg.Connect(tasks.Hooks{TaskFailure: func(_ context.Context, _ *tasks.Request, exc *protocol.Exception) {
					if strings.Contains(exc.Traceback, "sentrytasks.(") {
						t.Errorf("we are in the traceback: %s", exc.Traceback)
					}
				}})
			})
			if run == nil || run.Contexts["trace"]["status"] != tt.status {
				t.Errorf("the transaction is %v, not %v", run, tt.status)
			}
			if tt.want == "" {
				if len(events) > 0 {
					t.Errorf("got %v", events[0].Exception)
				}
				return
			}
			if len(events) != 1 {
				t.Fatalf("%d events", len(events))
			}
			event := events[0]
			var got []string
			for _, e := range event.Exception {
				got = append(got, strings.TrimPrefix(e.Module+"."+e.Type, ".")+"|"+e.Value)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, not %q", got, tt.want)
			}
			last := event.Exception[len(event.Exception)-1]
			if m := last.Mechanism; m.Type != "celery" || *m.Handled {
				t.Errorf("mechanism %v", m)
			}
			if !tt.stack {
				if last.Stacktrace != nil && len(last.Stacktrace.Frames) > 0 {
					t.Errorf("stack %v", last.Stacktrace)
				}
			} else if frames := last.Stacktrace.Frames; len(frames) != 1 || !strings.HasPrefix(frames[0].Function, "TestHowRunsEnd.") {
				t.Errorf("stack %v", frames)
			}
			if event.Tags["celery_task_id"] == "" || event.Transaction != "shop.do" || event.Contexts["celery-job"]["args"] != "[Filtered]" {
				t.Errorf("tags %v, transaction %s, contexts %v", event.Tags, event.Transaction, event.Contexts)
			}
			if got := strings.Join(event.Fingerprint, " "); (got == "celery SoftTimeLimitExceeded shop.do") != strings.Contains(tt.want, "Soft") {
				t.Errorf("fingerprint %s", got)
			}
		})
	}
}

// What a handler tells its hub is about its own run, and not about the next one.
func TestHubOfARun(t *testing.T) {
	runs := 0
	events, _ := reported(t, sentry.ClientOptions{DataCollection: &sentry.DataCollection{}}, func(reg *tasks.Registry) {
		reg.Register("shop.do", func(ctx context.Context, _ string) error {
			mine := sentry.GetHubFromContext(ctx)
			runs++
			mine.Scope().SetTag(fmt.Sprint("run ", runs), "yes")
			mine.AddBreadcrumb(&sentry.Breadcrumb{Message: "counted"}, nil)
			mine.CaptureMessage("low on pens")
			if runs == 1 {
				return tasks.Retry(errors.New("sold"))
			}
			return nil
		})
	})
	if len(events) != 2 {
		t.Fatalf("got %v", events)
	}
	for i, event := range events {
		args, _ := event.Contexts["celery-job"]["args"].(json.RawMessage)
		if len(event.Tags) != 2 || event.Tags[fmt.Sprint("run ", i+1)] != "yes" || event.Tags["celery_task_id"] == "" || len(event.Breadcrumbs) != 1 || string(args) != `["pen"]` {
			t.Errorf("tags %v, breadcrumbs %v, contexts %v", event.Tags, event.Breadcrumbs, event.Contexts)
		}
	}
}

// flushed is a transport that knows how long somebody would wait for it.
type flushed struct {
	sentry.MockTransport
	wait time.Duration
}

func (f *flushed) FlushWithContext(ctx context.Context) bool {
	deadline, _ := ctx.Deadline()
	f.wait = time.Until(deadline)
	return true
}

func TestWorkersEndFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := &flushed{}
		client, err := sentry.NewClient(sentry.ClientOptions{Dsn: "http://public@localhost/1", Transport: sent})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		reg := tasks.NewRegistry()
		reg.Register("shop.do", func() {})
		sentrytasks.Connect(reg, sentrytasks.WithHub(sentry.NewHub(client, sentry.NewScope())))
		taskstest.Run(t, reg, "shop.do")
		if sent.wait != 2*time.Second {
			t.Errorf("waited for %v", sent.wait)
		}
	})
}

// Outside of a run, clients carry on the transaction of their context.
func TestClients(t *testing.T) {
	hub, _ := hub(t, tracing)
	ctx := sentry.SetHubOnContext(t.Context(), hub)
	span := sentry.StartSpan(ctx, "http.server")
	for name, tt := range map[string]struct {
		ctx  context.Context
		opts []sentrytasks.Option
		want string
	}{
		"in a transaction":   {span.Context(), nil, span.TraceID.String()},
		"outside of one":     {ctx, nil, ""},
		"without traces":     {sentry.SetHubOnContext(t.Context(), untraced(t)), nil, traceID},
		"keeping its traces": {span.Context(), []sentrytasks.Option{sentrytasks.WithoutPropagation()}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			reg := tasks.NewRegistry()
			sentrytasks.Connect(reg, tt.opts...)
			task := &protocol.Task{Name: "shop.do", ID: "1"}
			for _, hooks := range reg.Hooks() {
				hooks.BeforePublish(tt.ctx, task)
			}
			if got, _, _ := strings.Cut(task.Header("sentry-trace"), "-"); got != tt.want {
				t.Errorf("the trace is %q, not %q", got, tt.want)
			}
			if (task.Header("sentry-task-enqueued-time") == "") != (tt.opts != nil) {
				t.Errorf("headers %s", task.Headers)
			}
		})
	}
}

// untraced is a hub without tracing that has a trace from elsewhere.
func untraced(t *testing.T) *sentry.Hub {
	t.Helper()
	hub, _ := hub(t, sentry.ClientOptions{})
	sentry.ContinueTrace(hub, traceID+"-"+spanID+"-1", "")
	return hub
}
