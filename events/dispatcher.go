package events

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/worker"
)

const (
	defaultExchange  = "celeryev"
	defaultHeartbeat = 2 * time.Second

	batchMost  = 100    // events in one message
	bufferMost = 50_000 // events that wait for the broker
)

// Worker is what events ask a worker. *worker.Worker is one.
type Worker interface {
	Stats() worker.Stats
	Totals() (byName map[string]int64, all int64)
	Clock() *worker.Clock
}

// Config of a Dispatcher. Broadcaster and Hostname are required.
type Config struct {
	Broadcaster broker.Broadcaster // not closed by the dispatcher
	Hostname    string             // the node name
	Version     string             // sw_ver

	// TaskEvents sends the events of tasks from the start (worker_send_task_events, -E).
	// They can then not be switched off; otherwise EnableTasks and DisableTasks do it.
	TaskEvents bool
	// Exchange is event_exchange. Default: celeryev.
	Exchange string
	// Heartbeat is the interval of worker-heartbeat. Default 2 s; negative: no worker-online,
	// worker-heartbeat and worker-offline (--without-heartbeat).
	Heartbeat time.Duration
	Logger    *slog.Logger // nil: slog.Default()
}

// Dispatcher sends the events of one worker. Its methods are safe for concurrent use.
type Dispatcher struct {
	cfg     Config
	worker  Worker      // set by Watch, before the worker runs
	tasks   atomic.Bool // task events are sent
	dropped atomic.Int64
	woken   chan struct{} // capacity 1: there is something to send

	mu      sync.Mutex
	pending []pending
}

// pending is an event that waits to be sent.
type pending struct {
	kind string
	body []byte
}

var _ worker.Observer = (*Dispatcher)(nil)

// New returns a dispatcher. It sends nothing before Watch and Run.
func New(cfg Config) (*Dispatcher, error) {
	if cfg.Broadcaster == nil || cfg.Hostname == "" {
		return nil, errors.New("events: Broadcaster and Hostname are required")
	}
	if cfg.Exchange == "" {
		cfg.Exchange = defaultExchange
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = defaultHeartbeat
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	d := &Dispatcher{cfg: cfg, woken: make(chan struct{}, 1)}
	d.tasks.Store(cfg.TaskEvents)
	return d, nil
}

// Watch makes w the worker whose events are sent. Call it before w runs.
func (d *Dispatcher) Watch(w Worker) { d.worker = w }

// EnableTasks starts sending the events of tasks. It reports false if they are sent already.
func (d *Dispatcher) EnableTasks() bool { return d.tasks.CompareAndSwap(false, true) }

// DisableTasks stops it again. It reports false if they are not sent, or were asked for when
// the worker was started.
func (d *Dispatcher) DisableTasks() bool {
	return !d.cfg.TaskEvents && d.tasks.CompareAndSwap(true, false)
}

// Dropped is how many events there was no room for.
func (d *Dispatcher) Dropped() int64 { return d.dropped.Load() }

// Observe implements worker.Observer.
func (d *Dispatcher) Observe(e worker.Event) {
	kind, ok := types[e.Kind]
	if !ok || e.Silent || e.Task == nil || !d.tasks.Load() {
		return
	}
	now := time.Now()
	d.add(kind, func() event { return taskFields(d.begin(now), &e).end(kind, now) })
}

// Send sends an event of any type with fields of its own, which must be the members of a
// JSON object: `"id": "x", "n": 1`.
func (d *Dispatcher) Send(kind, fields string) {
	now := time.Now()
	d.add(kind, func() event {
		e := d.begin(now)
		if fields != "" {
			e = append(append(e, ", "...), fields...)
		}
		return e.end(kind, now)
	})
}

// add queues an event. The clock goes on while it is queued, so that events are sent in
// the order of their clocks.
func (d *Dispatcher) add(kind string, encode func() event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) >= bufferMost {
		d.dropped.Add(1)
		return
	}
	d.pending = append(d.pending, pending{kind, encode()})
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// Run sends events and heartbeats until ctx is done. Then it says that the
// worker is offline, and goes on sending what its last tasks do until drained is closed.
func (d *Dispatcher) Run(ctx context.Context, drained <-chan struct{}) {
	var beat <-chan time.Time
	if d.cfg.Heartbeat > 0 {
		ticker := time.NewTicker(d.cfg.Heartbeat)
		defer ticker.Stop()
		beat = ticker.C
		d.heartbeat("worker-online")
	}
	stopping, trouble := ctx.Done(), false
	for {
		err := d.flush(context.WithoutCancel(ctx))
		if err != nil && !trouble {
			d.cfg.Logger.Error("Cannot send events: " + err.Error() + ". They are kept until it works")
		}
		trouble = err != nil
		select {
		case <-d.woken:
		case <-beat:
			d.heartbeat("worker-heartbeat")
		case <-stopping:
			stopping, beat = nil, nil
			if d.cfg.Heartbeat > 0 {
				d.heartbeat("worker-offline")
			}
		case <-drained:
			_ = d.flush(context.WithoutCancel(ctx)) // what cannot be sent now is lost with the process
			return
		}
	}
}

// Heartbeat sends a worker-heartbeat now, as Celery's remote command of that name does:
// it says little more than that the worker is there.
func (d *Dispatcher) Heartbeat() {
	now := time.Now()
	d.add("worker-heartbeat", func() event {
		return d.software(d.begin(now).integer("freq", 5)).end("worker-heartbeat", now)
	})
}

func (d *Dispatcher) heartbeat(kind string) {
	_, processed := d.worker.Totals()
	active := d.worker.Stats().Active
	freq := d.cfg.Heartbeat.Seconds()
	now := time.Now()
	d.add(kind, func() event {
		e := d.begin(now).float("freq", freq).integer("active", int64(active)).integer("processed", processed).
			raw("loadavg", loadAverage())
		return d.software(e).end(kind, now)
	})
}

// sendTimeout bounds one attempt to send: the broker may be away.
const sendTimeout = 2 * time.Second

// flush sends what waits. After a failure it stays, if there is room.
func (d *Dispatcher) flush(ctx context.Context) error {
	d.mu.Lock()
	events := d.pending
	d.pending = nil
	d.mu.Unlock()
	if len(events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := d.cfg.Broadcaster.Broadcast(ctx, d.messages(events)...); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pending = append(events, d.pending...)
		if over := len(d.pending) - bufferMost; over > 0 {
			d.dropped.Add(int64(over))
			d.pending = d.pending[over:]
		}
		return err
	}
	return nil
}

// messages makes the messages of events, in order: those of tasks that follow each other
// share one.
func (d *Dispatcher) messages(events []pending) []broker.Publication {
	var messages []broker.Publication
	for len(events) > 0 {
		n := 0
		for n < len(events) && n < batchMost && strings.HasPrefix(events[n].kind, "task-") {
			n++
		}
		if n == 0 {
			messages = append(messages, d.message(strings.ReplaceAll(events[0].kind, "-", "."), events[0].body))
			events = events[1:]
			continue
		}
		body := []byte{'['}
		for i, e := range events[:n] {
			if i > 0 {
				body = append(body, ", "...)
			}
			body = append(body, e.body...)
		}
		messages = append(messages, d.message("task.multi", append(body, ']')))
		events = events[n:]
	}
	return messages
}

// message wraps a body in an envelope.
func (d *Dispatcher) message(routingKey string, body []byte) broker.Publication {
	raw := append(make([]byte, 0, 2*len(body)+512), `{"body": "`...)
	raw = base64.StdEncoding.AppendEncode(raw, body)
	raw = append(raw, `", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"hostname": `...)
	raw = append(raw, quote(d.cfg.Hostname)...)
	raw = append(raw, `}, "properties": {"delivery_mode": 1, "delivery_info": {"exchange": `...)
	raw = append(raw, quote(d.cfg.Exchange)...)
	raw = append(raw, `, "routing_key": "`+routingKey+`"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "`+protocol.NewID()+`"}}`...)
	return broker.Publication{Exchange: d.cfg.Exchange, ExchangeType: broker.Fanout, RoutingKey: routingKey, Message: raw}
}
