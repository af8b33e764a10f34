package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/logtest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const queue = "celery"

// bench is a worker on a broker and a backend in memory, in virtual time.
type bench struct {
	t       *testing.T
	broker  membroker.Broker
	results *membackend.Backend
	reg     *tasks.Registry
	cfg     worker.Config
	client  *client.Client
	log     logtest.Buffer
	events  events

	w      *worker.Worker
	stop   context.CancelFunc
	ended  chan struct{}
	runErr error
}

// inBubble runs a test with a bench whose worker has not started yet.
func inBubble(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, results: membackend.New(), reg: tasks.NewRegistry()}
		var err error
		if b.client, err = client.New(client.Config{Publisher: b.broker.Publisher(), Loader: b.results}); err != nil {
			t.Fatal(err)
		}
		b.cfg = worker.Config{
			Registry: b.reg, Store: b.results, Publisher: b.broker.Publisher(), Concurrency: 2, Hostname: "celery@test",
			Logger:    slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Observers: []worker.Observer{&b.events},
		}
		test(t, b)
		if b.stop != nil {
			b.warm()
			<-b.ended
		}
	})
}

func (b *bench) start() {
	b.t.Helper()
	if b.cfg.Consumer == nil {
		b.cfg.Consumer = b.broker.Consumer(queue)
	}
	var err error
	if b.w, err = worker.New(b.cfg); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	b.stop, b.ended = cancel, make(chan struct{})
	go func() {
		defer close(b.ended)
		b.runErr = b.w.Run(ctx)
		_ = b.cfg.Consumer.Close()
	}()
	synctest.Wait()
}

// sleep lets time pass and whatever it brings about happen.
func (b *bench) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (b *bench) warm() { b.stop(); synctest.Wait() }

func (b *bench) send(call canvas.Signature) string {
	b.t.Helper()
	res, err := b.client.Send(b.t.Context(), call)
	if err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	return res.ID
}

func (b *bench) publish(messages ...string) {
	b.t.Helper()
	all := make([]broker.Publication, len(messages))
	for i, m := range messages {
		all[i] = broker.Publication{RoutingKey: queue, Message: envelopetest.Message([]byte(m))}
	}
	if err := b.broker.Publisher().Publish(b.t.Context(), all...); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

// result returns "STATE result" of a task; "" when nothing is stored.
func (b *bench) result(id string) string {
	b.t.Helper()
	raw, err := b.results.Load(b.t.Context(), id)
	if errors.Is(err, backend.ErrNotFound) {
		return ""
	}
	if err != nil {
		b.t.Fatal(err)
	}
	rec, err := protocol.DecodeResult(raw)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(rec.State) + " " + string(rec.Result)
}

func (b *bench) wantResult(id, want string) {
	b.t.Helper()
	if got := b.result(id); got != want {
		b.t.Errorf("result = %s\n  want %s", got, want)
	}
}

func (b *bench) wantQueued(waiting, leased int) {
	b.t.Helper()
	if w, l := b.broker.Len(queue), b.broker.Leased(); w != waiting || l != leased {
		b.t.Errorf("queue holds %d messages and %d are leased, want %d and %d", w, l, waiting, leased)
	}
}

func (b *bench) wantLog(want string) {
	b.t.Helper()
	if text := b.log.String(); !strings.Contains(text, want) {
		b.t.Errorf("the log lacks %q:\n%s", want, text)
	}
}

// events notes the kind of each event, with what belongs to it.
type events struct {
	mu   sync.Mutex
	seen []string
}

var kinds = map[worker.Kind]string{
	worker.Received: "received", worker.Started: "started", worker.Succeeded: "succeeded", worker.Failed: "failed",
	worker.Revoked: "revoked", worker.Refused: "refused", worker.LeaseLost: "lease lost", worker.Retried: "retried",
	worker.Rejected: "rejected", worker.Ignored: "ignored", worker.Forwarded: "forwarded", worker.Left: "left", worker.Buried: "buried",
}

func (e *events) Observe(ev worker.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, strings.TrimSpace(kinds[ev.Kind]+" "+ev.Exception+ev.Reason))
}

// wantEventsInAnyOrder is for those of several tasks, between which there is no order.
func (b *bench) wantEventsInAnyOrder(want ...string) {
	b.t.Helper()
	b.events.mu.Lock()
	defer b.events.mu.Unlock()
	if got := slices.Sorted(slices.Values(b.events.seen)); !slices.Equal(got, want) {
		b.t.Errorf("events = %q, want %q in any order", got, want)
	}
}

func (b *bench) wantEvents(want ...string) {
	b.t.Helper()
	b.events.mu.Lock()
	defer b.events.mu.Unlock()
	if !slices.Equal(b.events.seen, want) {
		b.t.Errorf("events = %q, want %q", b.events.seen, want)
	}
}

func add(x, y int) int { return x + y }

func TestSuccess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add)
		b.start()
		id := b.send(canvas.Sig("app.add", 1, 2))
		b.wantResult(id, "SUCCESS 3")
		b.wantQueued(0, 0)
		b.wantEvents("received", "started", "succeeded")
		b.wantLog("Task app.add[" + id + "] received")
		b.wantLog("Task app.add[" + id + "] succeeded in ")
	})
}

func TestFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.fail", func() error { return tasks.Raise("ValueError", "bad") })
		b.reg.Register("app.panic", func() { panic("boom") })
		b.reg.Register("app.chan", func() any { return make(chan int) })
		b.reg.Register("app.add", add, tasks.Params("x, y"))
		b.start()
		tests := []struct {
			call            canvas.Signature
			want, exception string
		}{
			{canvas.Sig("app.fail"), `FAILURE {"exc_type": "ValueError", "exc_message": ["bad"], "exc_module": "builtins"}`, "ValueError"},
			{canvas.Sig("app.panic"), `FAILURE {"exc_type": "RuntimeError", "exc_message": ["boom"], "exc_module": "builtins"}`, "RuntimeError"},
			{canvas.Sig("app.chan"), `FAILURE {"exc_type": "EncodeError", "exc_message": ["TypeError('Object of type chan int is not JSON serializable')"], "exc_module": "kombu.exceptions"}`, "EncodeError"},
			{canvas.Sig("app.add", 1), `FAILURE {"exc_type": "TypeError", "exc_message": ["add() missing 1 required positional argument: 'y'"], "exc_module": "builtins"}`, "TypeError"},
		}
		var want []string
		for _, tt := range tests {
			b.wantResult(b.send(tt.call), tt.want)
			want = append(want, "received", "started", "failed "+tt.exception)
		}
		b.wantEvents(want...)
		b.wantQueued(0, 0)
		b.wantResult(b.send(canvas.Sig("app.add", 1, 2)), "SUCCESS 3")
	})
}

func TestUnknownTaskFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		id := b.send(canvas.Sig("no.such"))
		b.wantResult(id, `FAILURE {"exc_type": "NotRegistered", "exc_message": ["no.such"], "exc_module": "celery.exceptions"}`)
		b.wantEvents("failed NotRegistered")
		b.wantLog("Received unregistered task of type 'no.such'.")
		b.wantQueued(0, 0)
	})
}

func TestGarbageIsDroppedAndTheWorkerLives(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add)
		const headers = `"headers": {"task": "app.add", "id": "1", "eta": "soon"}, "content-type": "application/json", ` +
			`"content-encoding": "utf-8", "properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64"}`
		const invalid = `{"body": "W1tdLCB7fSwge31d", ` + headers + "}"
		messages := []string{
			"\x00 garbage", "{}", "[1, 2]", `"text"`, "", invalid,
			strings.Replace(invalid, "application/json", "application/x-python-serialize", 1),
			strings.Replace(invalid, "app.add", "no.such", 1),
		}
		consumer := &scripted{messages: messages}
		b.cfg.Consumer = consumer
		b.start()
		b.wantEvents("refused undecodable", "refused undecodable", "refused undecodable", "refused undecodable",
			"refused undecodable", "refused invalid", "failed InvalidTaskErrorinvalid",
			"refused content_type", "failed ContentDisallowedcontent_type", "failed NotRegistered")
		if len(consumer.acked) != len(messages) {
			t.Errorf("acknowledged %q, want all %d messages", consumer.acked, len(messages))
		}
		if err := b.w.Ready(); err != nil {
			t.Errorf("after the garbage the worker is not ready: %v", err)
		}
	})
}

// scripted is a consumer of given messages, whatever they are.
type scripted struct {
	messages []string
	acked    []string
}

func (s *scripted) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	if len(s.messages) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	n := min(limit, len(s.messages))
	ds := make([]broker.Delivery, n)
	for i, m := range s.messages[:n] {
		ds[i] = broker.Delivery{Tag: fmt.Sprint(len(s.messages) - i), Queue: queue, Content: broker.Content{Raw: []byte(m), Open: envelope.Open}}
	}
	s.messages = s.messages[n:]
	return ds, nil
}

func (s *scripted) Ack(_ context.Context, tags ...string) ([]string, error) {
	s.acked = append(s.acked, tags...)
	return nil, nil
}

func (s *scripted) Requeue(context.Context, broker.Place, ...broker.Delivery) error { return nil }
func (s *scripted) Extend(context.Context, ...string) ([]string, error)             { return nil, nil }
func (s *scripted) Close() error                                                    { return nil }

func TestAcknowledgement(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.sleep", func() { time.Sleep(time.Minute) }, tasks.AcksLate(late))
				yes := true
				b.cfg.Defaults.TrackStarted = &yes
				b.start()
				id := b.send(canvas.Sig("app.sleep"))
				leased := map[bool]int{false: 0, true: 1}[late]
				b.wantQueued(0, leased)
				if got := b.result(id); !strings.Contains(got, `STARTED {"hostname": "celery@test", "pid": `) {
					t.Errorf("while it runs the result is %q", got)
				}
				b.sleep(time.Hour)
				b.wantQueued(0, 0)
				b.wantResult(id, "SUCCESS null")
				b.wantEvents("received", "started", "succeeded")
			})
		})
	}
}

func TestTrackStartedOfOneTask(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		sleep := func() { time.Sleep(time.Minute) }
		b.reg.Register("app.tracked", sleep, tasks.TrackStarted(true))
		b.reg.Register("app.plain", sleep)
		b.start()
		if got := b.result(b.send(canvas.Sig("app.tracked"))); !strings.HasPrefix(got, "STARTED ") {
			t.Errorf("while it runs the result is %q", got)
		}
		b.wantResult(b.send(canvas.Sig("app.plain")), "")
	})
}

func TestIgnoredResults(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add, tasks.IgnoreResult(true))
		b.reg.Register("app.fail", func() error { return errors.New("x") },
			tasks.IgnoreResult(true), tasks.StoreErrorsEvenIfIgnored(true))
		b.start()
		b.wantResult(b.send(canvas.Sig("app.add", 1, 2)), "")
		if got := b.result(b.send(canvas.Sig("app.fail"))); !strings.HasPrefix(got, "FAILURE") {
			t.Errorf("the failure was not stored: %q", got)
		}
		b.wantQueued(0, 0)
	})
}

func TestConcurrencyAndPrefetch(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.sleep", func() { time.Sleep(time.Second) })
		b.cfg.PrefetchMultiplier = 2
		for range 10 {
			b.send(canvas.Sig("app.sleep"))
		}
		b.start()
		if s := b.w.Stats(); s.Active != 2 || s.Reserved != 4 {
			t.Errorf("stats = %+v, want 2 active and 4 reserved", s)
		}
		b.wantQueued(4, 4)
		b.sleep(time.Minute)
		b.wantQueued(0, 0)
	})
}

func TestWarmShutdownLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var mu sync.Mutex
		var order []int
		b.reg.Register("app.sleep", func(n int) {
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, n)
		})
		b.cfg.Concurrency = 1
		for n := range 10 {
			b.send(canvas.Sig("app.sleep", n))
		}
		b.start()
		b.sleep(1500 * time.Millisecond)
		b.warm()
		<-b.ended
		if b.runErr != nil {
			t.Errorf("Run = %v", b.runErr)
		}
		b.wantQueued(10-len(order), 0)

		b.cfg.Consumer = nil
		b.start()
		b.sleep(time.Minute)
		if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
			t.Errorf("order = %v, want each once, in order", order)
		}
	})
}

func TestShutdownTimeoutCancelsHandlers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var cause error
		b.reg.Register("app.wait", func(ctx context.Context) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})
		b.cfg.ShutdownTimeout = time.Minute
		b.start()
		b.send(canvas.Sig("app.wait"))
		start := time.Now()
		b.warm()
		<-b.ended
		if took := time.Since(start); took < time.Minute || took > 2*time.Minute {
			t.Errorf("the shutdown took %v, want a minute", took)
		}
		if !errors.Is(cause, tasks.ErrShutdown) {
			t.Errorf("cause = %v, want tasks.ErrShutdown", cause)
		}
	})
}

func TestColdShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		block := func() { time.Sleep(time.Hour) }
		b.reg.Register("app.early", block)
		b.reg.Register("app.late", block, tasks.AcksLate(true))
		b.start()
		early := b.send(canvas.Sig("app.early"))
		late := b.send(canvas.Sig("app.late"))
		b.send(canvas.Sig("app.late")) // waits for a slot
		b.w.Abort()
		<-b.ended
		b.wantQueued(2, 0)
		b.wantResult(late, "")
		if got := b.result(early); !strings.HasPrefix(got, `RETRY {"exc_type": "Retry"`) {
			t.Errorf("result of the task that was cut off = %q", got)
		}
		b.sleep(2 * time.Hour) // the handlers return at last: nobody is listening
		b.wantQueued(2, 0)
	})
}

func TestColdShutdownGivesBackWhatReturnsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.wait", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, tasks.AcksLate(true))
		b.start()
		ids := []string{b.send(canvas.Sig("app.wait")), b.send(canvas.Sig("app.wait"))}
		b.w.Abort()
		<-b.ended
		b.wantQueued(2, 0)
		for _, id := range ids {
			b.wantResult(id, "")
		}
	})
}

func TestLeasesAreRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		runs := 0
		b.reg.Register("app.long", func() { runs++; time.Sleep(10 * time.Hour) }, tasks.AcksLate(true))
		b.broker.VisibilityTimeout = time.Hour
		b.start()
		id := b.send(canvas.Sig("app.long"))
		b.send(canvas.Sig("app.long").Set(canvas.Countdown(5 * time.Hour)))
		b.sleep(24 * time.Hour)
		b.wantResult(id, "SUCCESS null")
		if runs != 2 {
			t.Errorf("two tasks ran %d times", runs)
		}
		b.wantQueued(0, 0)
	})
}

// How often leases are renewed follows from how long they last for the broker.
func TestShortLeasesAreRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		runs := 0
		b.reg.Register("app.long", func() { runs++; time.Sleep(time.Hour) }, tasks.AcksLate(true))
		b.broker.VisibilityTimeout = time.Minute
		b.start()
		id := b.send(canvas.Sig("app.long"))
		b.sleep(2 * time.Hour)
		b.wantResult(id, "SUCCESS null")
		if runs != 1 {
			t.Errorf("the task ran %d times", runs)
		}
	})
}

func TestLostLease(t *testing.T) {
	for _, succeeds := range []bool{true, false} {
		t.Run(fmt.Sprintf("succeeds=%v", succeeds), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.broker.VisibilityTimeout = time.Hour
				causes := make(chan error, 10)
				b.reg.Register("app.wait", func(ctx context.Context) error {
					<-ctx.Done()
					causes <- context.Cause(ctx)
					if succeeds {
						return nil
					}
					return ctx.Err()
				}, tasks.AcksLate(true))
				tagged := &noteTags{Consumer: b.broker.Consumer(queue)}
				b.cfg.Consumer = tagged
				b.start()
				id := b.send(canvas.Sig("app.wait"))
				b.broker.Expire(tagged.tags[0]) // goes back, and is claimed again
				b.sleep(30 * time.Minute)       // until the lease is renewed
				synctest.Wait()
				if cause := <-causes; !errors.Is(cause, worker.ErrLeaseLost) {
					t.Errorf("cause = %v, want ErrLeaseLost", cause)
				}
				b.wantResult(id, map[bool]string{true: "SUCCESS null", false: ""}[succeeds])
				b.wantQueued(0, 1) // the second delivery runs on
				b.wantLog("its lease was lost")
				b.w.Abort()
			})
		})
	}
}

// noteTags remembers the tags of the deliveries it passes on.
type noteTags struct {
	broker.Consumer
	tags []string
}

func (n *noteTags) Unwrap() broker.Consumer { return n.Consumer }

func (n *noteTags) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	ds, err := n.Consumer.Claim(ctx, limit)
	for _, d := range ds {
		n.tags = append(n.tags, d.Tag)
	}
	return ds, err
}

// flaky fails every call until it is repaired.
type flaky struct {
	inner  backend.Store
	mu     sync.Mutex
	broken bool
}

func (f *flaky) Close() error { return nil }

func (f *flaky) repair() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = false
}

func (f *flaky) Store(ctx context.Context, records ...backend.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return errors.New("the backend is away")
	}
	return f.inner.Store(ctx, records...)
}

func TestResultsWaitForTheBackend(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add, tasks.AcksLate(true))
		store := &flaky{inner: b.results, broken: true}
		b.cfg.Store = store
		b.start()
		id := b.send(canvas.Sig("app.add", 1, 2))
		b.sleep(time.Minute)
		b.wantResult(id, "")
		b.wantQueued(0, 1) // not acknowledged before its result is confirmed
		store.repair()
		b.sleep(time.Minute)
		b.wantResult(id, "SUCCESS 3")
		b.wantQueued(0, 0)
		b.wantLog("Cannot store results: the backend is away")
		b.wantLog("Managed to store results again")
	})
}

func TestARefusedRecordDoesNotHoldUpOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add)
		b.cfg.Store = refusing{b.results}
		b.start()
		b.send(canvas.Sig("app.add", 1, 2).Set(canvas.TaskID("too-large")))
		b.wantResult(b.send(canvas.Sig("app.add", 1, 2)), "SUCCESS 3")
		b.wantLog("Cannot store the result of task too-large: too large")
	})
}

// refusing refuses the record of one task for good.
type refusing struct{ inner backend.Store }

func (r refusing) Close() error { return nil }

func (r refusing) Store(ctx context.Context, records ...backend.Record) error {
	var errs []error
	for _, rec := range records {
		if rec.TaskID == "too-large" {
			errs = append(errs, &backend.RecordError{TaskID: rec.TaskID, Err: errors.New("too large")})
			continue
		}
		errs = append(errs, r.inner.Store(ctx, rec))
	}
	return errors.Join(errs...)
}

func TestNewNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := worker.New(worker.Config{Concurrency: -1, PrefetchMultiplier: -2, AcceptContent: []string{"xml"}})
	for _, want := range []string{"Registry", "Consumer", "Concurrency", "PrefetchMultiplier", `"xml"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %s: %v", want, err)
		}
	}
}

func TestRunOnlyOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		if err := b.w.Run(t.Context()); err == nil {
			t.Error("the second Run succeeds")
		}
	})
}
