package events

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/worker"
)

const (
	defaultHeartbeat = 2 * time.Second
	// gatherFor is how long events are collected for one message.
	gatherFor = 5 * time.Millisecond
	// retryAfter is the pause between attempts while the broker is away; after one that was
	// refused it doubles, up to retryRarely.
	retryAfter  = time.Second
	retryRarely = time.Minute
)

// Clock is the logical clock that orders the events of all workers.
type Clock interface {
	Forward() int64 // one tick on; the new time
}

// Worker is what heartbeats ask a worker.
type Worker interface {
	Stats() worker.Stats
	Totals() (byName map[string]int64, all int64)
}

// Config of a Dispatcher. Broadcaster, Hostname and Clock are required.
type Config struct {
	Broadcaster broker.Broadcaster // not closed by the dispatcher
	Hostname    string             // the node name
	Clock       Clock
	Version     string // sw_ver

	// TaskEvents sends the events of tasks from the start (worker_send_task_events, -E).
	// They can then not be switched off; otherwise EnableTasks and DisableTasks do it.
	TaskEvents bool
	// Exchange is event_exchange. Default: celeryev.
	Exchange string
	// Heartbeat is the interval of worker-heartbeat. Default 2 s; negative: no worker-online,
	// worker-heartbeat and worker-offline (--without-heartbeat).
	Heartbeat time.Duration
	// OnHeartbeat is called for each worker event that Heartbeat is about: Celery's heartbeat_sent.
	// Nil: nothing is called.
	OnHeartbeat func()
	Logger      *slog.Logger // nil: slog.Default()
}

// Dispatcher sends the events of one worker. Its methods are safe for concurrent use.
type Dispatcher struct {
	cfg      Config
	worker   *source
	producer *source
	tasks    atomic.Bool // events of tasks are sent
	buffer   buffer

	// Owned by Run.
	failing bool
	refused time.Duration // the last pause after a refusal; 0: nothing was refused
	probing bool          // worker-online is sent to see whether events are allowed by now
}

var _ worker.Observer = (*Dispatcher)(nil)

// New returns a dispatcher. It sends nothing before Run.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.Broadcaster == nil || cfg.Hostname == "" || cfg.Clock == nil {
		return nil, errors.New("events: Broadcaster, Hostname and Clock are required")
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = defaultHeartbeat
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	d := &Dispatcher{
		cfg: cfg, worker: newSource(cfg.Hostname, cfg.Exchange),
		producer: newSource(producerName(cfg.Hostname[strings.IndexByte(cfg.Hostname, '@')+1:]), cfg.Exchange),
		buffer:   buffer{woken: make(chan struct{}, 1), urgent: make(chan struct{}, 1)},
	}
	d.tasks.Store(cfg.TaskEvents)
	return d, nil
}

// EnableTasks starts sending the events of tasks. It reports false if they are sent already.
func (d *Dispatcher) EnableTasks() bool { return d.tasks.CompareAndSwap(false, true) }

// DisableTasks stops it again. It reports false if they are not sent, or were asked for
// when the worker was started.
func (d *Dispatcher) DisableTasks() bool {
	return !d.cfg.TaskEvents && d.tasks.CompareAndSwap(true, false)
}

// Dropped is how many events there was no room for.
func (d *Dispatcher) Dropped() int64 { return d.buffer.dropped.Load() }

// Observe sends the event of a step of a task. It implements worker.Observer.
func (d *Dispatcher) Observe(e worker.Event) {
	if !d.tasks.Load() || e.Silent || e.Task == nil || int(e.Kind) >= len(types) {
		return
	}
	outcome := outcomeText(&e)
	b := &d.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full() {
		return
	}
	now := time.Now()
	to := b.open(d.worker)
	before := len(to.body)
	to.body = d.worker.begin(to.body, now, d.cfg.Clock.Forward())
	to.body = end(taskFields(to.body, &e, outcome), types[e.Kind], now)
	b.grown(len(to.body)-before, b.woken)
}

// TaskSent sends task-sent for a task that has been published (task_send_sent_event).
func (d *Dispatcher) TaskSent(task *protocol.Task) {
	d.single(d.producer, "task-sent", func(f fields) fields { return sentFields(f, task) })
}

// Heartbeat sends a heartbeat now, as remote control asks for it. It says little.
func (d *Dispatcher) Heartbeat() {
	d.single(d.worker, "worker-heartbeat", func(f fields) fields { return d.software(f.integer("freq", 5)) })
}

// Elect tells all workers that this one takes part in an election; action is JSON.
func (d *Dispatcher) Elect(id, topic string, action []byte) {
	d.single(d.worker, "worker-elect", func(f fields) fields {
		return f.text("id", id).text("topic", topic).raw("action", string(action)).integer("cver", 1)
	})
}

// AckElection tells all workers that this one has heard of an election's candidate.
func (d *Dispatcher) AckElection(id string) {
	d.single(d.worker, "worker-elect-ack", func(f fields) fields { return f.text("id", id) })
}

// beat sends one of the events by which monitors know that a worker lives.
func (d *Dispatcher) beat(kind string, w Worker) {
	if d.cfg.Heartbeat < 0 {
		return
	}
	if d.cfg.OnHeartbeat != nil {
		d.cfg.OnHeartbeat()
	}
	_, processed := w.Totals()
	active := int64(w.Stats().Active)
	d.single(d.worker, kind, func(f fields) fields {
		return d.software(f.float("freq", d.cfg.Heartbeat.Seconds()).integer("active", active).
			integer("processed", processed).raw("loadavg", loadAverage()))
	})
}

// single sends an event that has a message of its own.
func (d *Dispatcher) single(from *source, kind string, write func(fields) fields) {
	b := &d.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.HasPrefix(kind, "task-") && b.full() {
		return
	}
	now := time.Now()
	body := end(write(from.begin(nil, now, d.cfg.Clock.Forward())), kind, now)
	b.batches = append(b.batches, batch{from: from, routingKey: routingKey(kind), body: body})
	b.grown(len(body), b.urgent)
}

// Run sends events, and heartbeats about w, until ctx is done. Then it says that the
// worker is offline, and goes on sending what its last tasks do until drained is closed.
func (d *Dispatcher) Run(ctx context.Context, w Worker, drained <-chan struct{}) {
	interval := d.cfg.Heartbeat
	if interval < 0 {
		interval = defaultHeartbeat // they say nothing
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	d.beat("worker-online", w)
	stopping, sending := ctx.Done(), context.WithoutCancel(ctx)
	for again := (<-chan time.Time)(nil); ; { // not nil: nothing is tried until then
		if again == nil {
			if pause := d.trySend(sending, w); pause > 0 {
				again = time.After(pause)
			}
		}
		woken, urgent := d.buffer.woken, d.buffer.urgent
		if again != nil {
			woken, urgent = nil, nil
		}
		select {
		case <-urgent:
		case <-woken:
			select {
			case <-time.After(gatherFor):
			case <-urgent:
			case <-drained:
			}
		case <-again:
			again = nil
			if d.probing = d.refused > 0 && stopping != nil && d.buffer.empty(); d.probing {
				d.beat("worker-online", w)
			}
		case <-ticker.C:
			if stopping != nil && !d.failing { // heartbeats that are late would be lies
				d.beat("worker-heartbeat", w)
			}
		case <-stopping:
			stopping = nil
			d.beat("worker-offline", w)
		case <-drained:
			_, _ = d.buffer.send(sending, d.cfg.Broadcaster) // what cannot be sent now is lost with the process
			return
		}
	}
}

// trySend sends what there is, and says when that begins to fail and works again. Then
// the worker is online again. It returns how long to wait before the next attempt; 0: it
// did not fail.
func (d *Dispatcher) trySend(ctx context.Context, w Worker) (pause time.Duration) {
	sent, err := d.buffer.send(ctx, d.cfg.Broadcaster)
	if err != nil {
		var refused *broker.RefusedError
		if pause = retryAfter; errors.As(err, &refused) {
			d.refused = min(max(2*d.refused, retryAfter), retryRarely)
			pause = d.refused
		}
		if !d.failing {
			d.cfg.Logger.Error("Cannot send events: "+err.Error()+". Trying again until it works",
				logline.EventKey, "Cannot send events", "error", err)
		}
		d.failing = true
		return pause
	}
	if d.failing && sent > 0 {
		d.cfg.Logger.Info("Events are sent again")
		if !d.probing {
			d.beat("worker-online", w)
		}
		d.failing, d.refused = false, 0
	}
	return 0
}
