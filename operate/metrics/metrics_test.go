package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// fakeWorker is a worker in a state of the test's choosing.
type fakeWorker struct {
	ready     error
	stats     worker.Stats
	processes []worker.ProcessState
	shares    map[string]tasks.Share
	shadows   []worker.Shadow
}

func (w *fakeWorker) Processes() []worker.ProcessState { return w.processes }

func (w *fakeWorker) Shadows() []worker.Shadow       { return w.shadows }
func (w *fakeWorker) Shares() map[string]tasks.Share { return w.shares }

func (w *fakeWorker) Ready() error        { return w.ready }
func (w *fakeWorker) Stats() worker.Stats { return w.stats }
func (w *fakeWorker) Concurrency() int    { return 2 }
func (w *fakeWorker) Queues() []broker.Queue {
	return []broker.Queue{{Name: "celery"}, {Name: "other"}}
}

// brokerFunc lets a function stand for a broker.
type brokerFunc func(context.Context) (metrics.BrokerStats, error)

func (f brokerFunc) BrokerStats(ctx context.Context) (metrics.BrokerStats, error) { return f(ctx) }

func options() metrics.Options {
	return metrics.Options{
		Hostname: "w1@example",
		Version:  "1.2.3",
		Broker: brokerFunc(func(context.Context) (metrics.BrokerStats, error) {
			return metrics.BrokerStats{
				Queues:        map[string]int64{"celery": 0, "other": 0},
				Unacked:       7,
				Parked:        1_000_000,
				DeadLetters:   3,
				OldestUnacked: 1500 * time.Millisecond,
			}, nil
		}),
	}
}

// steps tells m the steps of one task, as the worker would.
func steps(m *metrics.Metrics, name, queue string, events ...worker.Event) {
	for _, e := range events {
		e.Queue, e.Task, e.Registered = queue, &protocol.Task{Name: name}, e.Reason != worker.ReasonUnknown
		m.Observe(e)
	}
}

var (
	received = worker.Event{Kind: worker.Received}
	started  = worker.Event{Kind: worker.Started}
	retried  = worker.Event{Kind: worker.Retried}
	rejected = worker.Event{Kind: worker.Rejected}
	revoked  = worker.Event{Kind: worker.Revoked}
)

func succeeded(runtime time.Duration) worker.Event {
	return worker.Event{Kind: worker.Succeeded, Runtime: runtime, Settle: 2 * time.Millisecond}
}

func failed(exception string) worker.Event {
	return worker.Event{Kind: worker.Failed, Exception: exception, Runtime: time.Second, Settle: time.Millisecond}
}

// scrape returns the samples (by series, labels in order) and the HELP and TYPE lines
// of a page of metrics in the OpenMetrics format.
func scrape(t *testing.T, h http.Handler) (samples map[string]string, comments map[string]bool) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != http.StatusOK {
		t.Fatalf("/metrics answers %d: %s", rec.Code, rec.Body)
	}
	return parse(rec.Body.String())
}

var label = regexp.MustCompile(`(\w+)="([^"]*)"`)

func parse(text string) (samples map[string]string, comments map[string]bool) {
	samples, comments = map[string]string{}, map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "# HELP ") || strings.HasPrefix(line, "# TYPE ") {
			comments[line] = true
			continue
		}
		series, value, found := cutLast(line, " ")
		if strings.HasPrefix(line, "#") || !found {
			continue
		}
		name, _, _ := strings.Cut(series, "{")
		samples[name+"{"+strings.Join(sorted(label.FindAllString(series, -1)), ",")+"}"] = value
	}
	return samples, comments
}

// TestObserve checks which step moves which counter.
func TestObserve(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	steps(m, "t", "celery", received, started, succeeded(30*time.Millisecond))
	steps(m, "t", "celery", received, started, failed("ValueError"))
	steps(m, "t", "other", received, revoked)
	m.Observe(worker.Event{Kind: worker.Refused, Queue: "celery", Reason: worker.ReasonContentType})
	m.Observe(worker.Event{Kind: worker.LeaseLost, Queue: "celery", Task: &protocol.Task{Name: "t"}, Registered: true})
	m.Observe(worker.Event{Kind: worker.Refused, Queue: "celery", Reason: worker.ReasonUndecodable})
	m.Observe(worker.Event{Kind: worker.Buried, Queue: "celery", Reason: worker.ReasonUndecodable})
	m.Observe(worker.Event{Kind: worker.Buried, Queue: "celery", Reason: worker.ReasonRedelivered})
	m.Observe(worker.Event{Kind: worker.Forwarded, Queue: "celery", Task: &protocol.Task{Name: "python's"}})
	m.Observe(worker.Event{Kind: worker.Forwarded, Queue: "celery", Task: &protocol.Task{Name: strings.Repeat("x", 1000)}})
	m.Observe(worker.Event{Kind: worker.Forwarded, Queue: "celery", Task: &protocol.Task{Name: "caf\xe9"}})
	m.Observe(worker.Event{Kind: worker.Left, Queue: "celery", Task: &protocol.Task{Name: "python's"}})
	m.Watch(&fakeWorker{ready: errors.New("no"), stats: worker.Stats{Reserved: 1, Scheduled: 2, Limited: 3, Kept: 4, Abandoned: 5, AbandonedTotal: 6, Settling: 7}})
	m.Claimed(3)
	m.WatchReconnects("broker", func() int64 { return 1 })
	m.WatchReconnects("publisher", func() int64 { return 2 })
	m.WatchBlocked(func() bool { return true })
	got, _ := scrape(t, m.Handler())
	want := map[string]string{
		`celery_task_received_total{hostname="example",name="t",queue_name="celery"}`:                      "2.0",
		`celery_task_received_total{hostname="example",name="t",queue_name="other"}`:                       "1.0",
		`celery_task_started_total{hostname="example",name="t",queue_name="celery"}`:                       "2.0",
		`celery_task_started_total{hostname="example",name="t",queue_name="other"}`:                        "0.0",
		`celery_task_succeeded_total{hostname="example",name="t",queue_name="celery"}`:                     "1.0",
		`celery_task_failed_total{exception="ValueError",hostname="example",name="t",queue_name="celery"}`: "1.0",
		`celery_task_revoked_total{hostname="example",name="t",queue_name="other"}`:                        "1.0",
		`celery_task_runtime_count{hostname="example",name="t",queue_name="celery"}`:                       "1",
		`celery_task_runtime_sum{hostname="example",name="t",queue_name="celery"}`:                         "0.03",
		`celery_task_runtime_bucket{hostname="example",le="0.025",name="t",queue_name="celery"}`:           "0",
		`celery_task_runtime_bucket{hostname="example",le="0.05",name="t",queue_name="celery"}`:            "1",
		`apium_messages_refused_total{reason="content_type"}`:                                              "1.0",
		`apium_messages_refused_total{reason="undecodable"}`:                                               "1.0",
		`apium_messages_buried_total{reason="undecodable"}`:                                                "1.0",
		`apium_messages_buried_total{reason="redelivered"}`:                                                "1.0",
		`apium_messages_forwarded_total{name="python's",queue_name="celery"}`:                              "1.0",
		`apium_messages_forwarded_total{name="None",queue_name="None"}`:                                    "1.0",
		`apium_messages_forwarded_total{name="caf�",queue_name="celery"}`:                                  "1.0",
		`apium_messages_left_total{}`:                                                                      "1.0",
		`apium_waiting_messages{state="reserved"}`:                                                         "1.0",
		`apium_waiting_messages{state="scheduled"}`:                                                        "2.0",
		`apium_waiting_messages{state="limited"}`:                                                          "3.0",
		`apium_waiting_messages{state="kept"}`:                                                             "4.0",
		`apium_settling{}`:                                                                                 "7.0",
		`apium_abandoned_handlers{}`:                                                                       "5.0",
		`apium_abandoned_handlers_total{}`:                                                                 "6.0",
		`apium_parked_messages{}`:                                                                          "1e+06",
		`apium_dead_letters{}`:                                                                             "3.0",
		`apium_leases_lost_total{}`:                                                                        "1.0",
		`apium_claim_batch_size_sum{}`:                                                                     "3.0",
		`apium_settle_seconds_count{}`:                                                                     "2",
		`apium_broker_blocked{}`:                                                                           "1.0",
		`apium_reconnects_total{connection="publisher"}`:                                                   "2.0",
		`apium_reconnects_total{connection="broker"}`:                                                      "1.0",
		`apium_unacked_messages{}`:                                                                         "7.0",
		`apium_oldest_unacked_age_seconds{}`:                                                               "1.5",
		`apium_broker_up{}`:                                                                                "1.0",
		`celery_worker_up{hostname="example"}`:                                                             "0.0",
		`celery_active_worker_count{queue_name="other"}`:                                                   "0.0",
	}
	for series, value := range want {
		if got[series] != value {
			t.Errorf("%s is %q, want %q", series, got[series], value)
		}
	}
}

// TestUnregisteredNames checks that names from the wire make no series of their own.
func TestUnregisteredNames(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	for _, name := range []string{"a", "b", "c"} {
		e := failed("NotRegistered")
		e.Reason = worker.ReasonUnknown
		steps(m, name, "celery", e)
	}
	m.Observe(worker.Event{Kind: worker.Rejected, Queue: "celery"}) // no task could be read
	got, _ := scrape(t, m.Handler())
	series := `celery_task_failed_total{exception="NotRegistered",hostname="example",name="None",queue_name="celery"}`
	if got[series] != "3.0" {
		t.Errorf("%s is %q, want 3.0", series, got[series])
	}
	for s := range got {
		if strings.Contains(s, `name="a"`) {
			t.Errorf("a name from the wire became a series: %s", s)
		}
	}
}

// TestExceptionNames checks that failures cannot make series without end, nor labels
// that are no class names.
func TestExceptionNames(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	const classes = 250
	for i := range classes {
		steps(m, "t", "celery", failed("Error"+strings.Repeat("x", i)), failed("Error"+strings.Repeat("x", i)))
	}
	steps(m, "t", "other", failed("not a class"), failed(""))
	got, _ := scrape(t, m.Handler())
	count := 0
	for s := range got {
		if strings.HasPrefix(s, "celery_task_failed_total") && strings.Contains(s, `queue_name="celery"`) {
			count++
		}
	}
	if count != 102 { // "", a hundred classes, UnknownException
		t.Errorf("%d exception classes make %d series, want 102", classes, count)
	}
	unknown := `celery_task_failed_total{exception="UnknownException",hostname="example",name="t",queue_name=`
	if got[unknown+`"celery"}`] != "300.0" || got[unknown+`"other"}`] != "2.0" {
		t.Errorf("UnknownException counts %s and %s, want 300.0 and 2.0", got[unknown+`"celery"}`], got[unknown+`"other"}`])
	}
}

// TestDeadBroker checks that a broker that does not answer costs its own figures only,
// and the timeout once.
func TestDeadBroker(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	var asked atomic.Int32
	o := options()
	o.ScrapeTimeout = 20 * time.Millisecond
	o.Broker = brokerFunc(func(context.Context) (metrics.BrokerStats, error) {
		asked.Add(1)
		<-release // deaf to its context, too
		return metrics.BrokerStats{}, nil
	})
	m := metrics.New(o)
	m.Watch(&fakeWorker{stats: worker.Stats{Active: 2}})
	for range 3 {
		got, _ := scrape(t, m.Handler())
		if got["apium_broker_up{}"] != "0.0" || got[`celery_worker_tasks_active{hostname="example"}`] != "2.0" {
			t.Errorf("broker up %s, active %s", got["apium_broker_up{}"], got[`celery_worker_tasks_active{hostname="example"}`])
		}
		if v, found := got[`celery_queue_length{queue_name="celery"}`]; found {
			t.Errorf("a dead broker reports a queue length of %s", v)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("a hanging broker was asked %d times, want once", asked.Load())
	}
}

func TestBrokerError(t *testing.T) {
	t.Parallel()
	o := options()
	fail := true
	o.Broker = brokerFunc(func(context.Context) (metrics.BrokerStats, error) {
		if fail {
			return metrics.BrokerStats{}, errors.New("connection refused")
		}
		return metrics.BrokerStats{Queues: map[string]int64{"celery": 12}}, nil
	})
	m := metrics.New(o)
	if got, _ := scrape(t, m.Handler()); got["apium_broker_up{}"] != "0.0" {
		t.Errorf("apium_broker_up is %s, want 0.0", got["apium_broker_up{}"])
	}
	fail = false
	got, _ := scrape(t, m.Handler())
	if got["apium_broker_up{}"] != "1.0" || got[`celery_queue_length{queue_name="celery"}`] != "12.0" {
		t.Errorf("after it came back: up %s, length %s", got["apium_broker_up{}"], got[`celery_queue_length{queue_name="celery"}`])
	}
}

// TestBrokerThatTellsLittle: of a broker that only tells how long queues are, no other figure is made up.
func TestBrokerThatTellsLittle(t *testing.T) {
	t.Parallel()
	o := options()
	o.Broker = brokerFunc(func(context.Context) (metrics.BrokerStats, error) {
		return metrics.BrokerStats{Queues: map[string]int64{"celery": 12}, OnlyQueues: true}, nil
	})
	m := metrics.New(o)
	blocked := false
	if got, _ := scrape(t, m.Handler()); got["apium_broker_blocked{}"] != "" {
		t.Errorf("a broker that nobody watches is blocked: %s", got["apium_broker_blocked{}"])
	}
	m.WatchBlocked(func() bool { return blocked })
	for _, want := range []string{"0.0", "1.0"} {
		got, _ := scrape(t, m.Handler())
		if got["apium_broker_up{}"] != "1.0" || got[`celery_queue_length{queue_name="celery"}`] != "12.0" || got["apium_broker_blocked{}"] != want {
			t.Errorf("up %s, length %s, blocked %s", got["apium_broker_up{}"], got[`celery_queue_length{queue_name="celery"}`], got["apium_broker_blocked{}"])
		}
		for _, name := range []string{"apium_unacked_messages{}", "apium_parked_messages{}", "apium_dead_letters{}", "apium_oldest_unacked_age_seconds{}"} {
			if value, there := got[name]; there {
				t.Errorf("%s %s", name, value)
			}
		}
		blocked = true
	}
}

func BenchmarkObserve(b *testing.B) {
	m := metrics.New(options())
	task := &protocol.Task{Name: "shop.tasks.add"}
	e := worker.Event{
		Kind: worker.Succeeded, Queue: "celery", Task: task, Registered: true,
		Runtime: time.Millisecond, Settle: time.Millisecond,
	}
	b.Run("received", func(b *testing.B) {
		e := e
		e.Kind = worker.Received
		b.ReportAllocs()
		for b.Loop() {
			m.Observe(e)
		}
	})
	b.Run("succeeded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Observe(e)
		}
	})
	b.Run("task", func(b *testing.B) { // the three steps of one task, from all CPUs
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			e := e
			for pb.Next() {
				for _, kind := range []worker.Kind{worker.Received, worker.Started, worker.Succeeded} {
					e.Kind = kind
					m.Observe(e)
				}
			}
		})
	})
}

// TestTaskSent counts what a worker publishes, whatever names and queues that has.
func TestTaskSent(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	m.TaskSent(&protocol.Task{Name: "next", RoutingKey: "celery"})
	m.TaskSent(&protocol.Task{Name: "next", RoutingKey: "celery"})
	m.TaskSent(&protocol.Task{Name: "next", Exchange: "topics", RoutingKey: "a.b"})
	m.TaskSent(&protocol.Task{Name: "caf\xe9", RoutingKey: "\xff"})
	for i := range 2000 {
		m.TaskSent(&protocol.Task{Name: fmt.Sprint("name", i), RoutingKey: "celery"})
	}
	got, _ := scrape(t, m.Handler())
	n := 0
	for series := range got {
		if strings.HasPrefix(series, "celery_task_sent_total") {
			n++
		}
	}
	if n != 1001 {
		t.Errorf("%d series", n)
	}
	for series, want := range map[string]string{
		`celery_task_sent_total{hostname="example",name="next",queue_name="celery"}`: "2.0",
		`celery_task_sent_total{hostname="example",name="next",queue_name="None"}`:   "1.0",
		`celery_task_sent_total{hostname="example",name="None",queue_name="None"}`:   "1003.0",
	} {
		if got[series] != want {
			t.Errorf("%s is %s, want %s", series, got[series], want)
		}
	}
}

// Shadows are counted by what comparing them has shown, and tell how long both took.
func TestShadows(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	m.Watch(&fakeWorker{shadows: []worker.Shadow{{
		Task: "t", Counts: map[worker.ShadowOutcome]uint64{worker.ShadowSame: 3, worker.ShadowDropped: 1},
		Python: worker.Runtimes{Count: 3, Sum: 6 * time.Second, Last: []time.Duration{3 * time.Second, time.Second, 2 * time.Second}},
		Go:     worker.Runtimes{Count: 3, Sum: 3 * time.Second, Last: []time.Duration{time.Second, time.Second, time.Second}},
	}}})
	got, _ := scrape(t, m.Handler())
	shadows := map[string]string{}
	for series, value := range got {
		if strings.Contains(series, "shadow") {
			shadows[series] = value
		}
	}
	want := map[string]string{
		`apium_shadow_total{name="t",outcome="same"}`: "3.0", `apium_shadow_total{name="t",outcome="different"}`: "0.0", `apium_shadow_total{name="t",outcome="uncompared"}`: "0.0",
		`apium_shadow_total{name="t",outcome="timeout"}`: "0.0", `apium_shadow_total{name="t",outcome="dropped"}`: "1.0",
		`apium_shadow_runtime_seconds{executor="python",name="t",quantile="0.5"}`: "2.0", `apium_shadow_runtime_seconds{executor="go",name="t",quantile="0.5"}`: "1.0",
		`apium_shadow_runtime_seconds_sum{executor="python",name="t"}`: "6.0", `apium_shadow_runtime_seconds_sum{executor="go",name="t"}`: "3.0",
		`apium_shadow_runtime_seconds_count{executor="python",name="t"}`: "3", `apium_shadow_runtime_seconds_count{executor="go",name="t"}`: "3",
	}
	if diff := cmp.Diff(want, shadows); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

// Tasks with a share are counted by what ran them; others are not.
func TestShares(t *testing.T) {
	t.Parallel()
	m := metrics.New(options())
	m.Watch(&fakeWorker{shares: map[string]tasks.Share{"t": tasks.WholeShare / 4}})
	in := func(executor string, e worker.Event) worker.Event {
		e.Executor, e.Shared = executor, true
		return e
	}
	steps(m, "t", "celery", in("", succeeded(30*time.Millisecond)), in("python", succeeded(time.Second)), in("python", failed("ValueError")), in("", retried))
	steps(m, "other", "celery", succeeded(time.Second))
	got, _ := scrape(t, m.Handler())
	shared := map[string]string{}
	for series, value := range got {
		if strings.Contains(series, "share") && !strings.Contains(series, "_bucket") {
			shared[series] = value
		}
	}
	want := map[string]string{
		`apium_task_share_ratio{name="t"}`:                                                    "0.25",
		`apium_shared_task_runtime_seconds_count{executor="go",name="t",state="SUCCESS"}`:     "1",
		`apium_shared_task_runtime_seconds_sum{executor="go",name="t",state="SUCCESS"}`:       "0.03",
		`apium_shared_task_runtime_seconds_count{executor="go",name="t",state="RETRY"}`:       "1",
		`apium_shared_task_runtime_seconds_sum{executor="go",name="t",state="RETRY"}`:         "0.0",
		`apium_shared_task_runtime_seconds_count{executor="python",name="t",state="SUCCESS"}`: "1",
		`apium_shared_task_runtime_seconds_sum{executor="python",name="t",state="SUCCESS"}`:   "1.0",
		`apium_shared_task_runtime_seconds_count{executor="python",name="t",state="FAILURE"}`: "1",
		`apium_shared_task_runtime_seconds_sum{executor="python",name="t",state="FAILURE"}`:   "1.0",
	}
	if diff := cmp.Diff(want, shared); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}
