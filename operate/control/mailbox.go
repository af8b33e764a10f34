// Package control is a worker's side of Celery's remote control (celery.app.control,
// "celery inspect", "celery control", "celery status", Flower): it hears requests, runs
// commands on the worker, and replies as Celery's worker does (kombu/pidbox.py,
// celery/worker/control.py).
//
// table.go lists the commands; they are in files by family: inspect, revoke, limits, pool, queues, events, conf,
// memory. A program adds its own with tasks.Registry.RegisterCommand.
//
// Two goroutines do this: one hears (Subscribe in Run's), so that the connection is read
// whatever commands do, and one runs the commands. Both end when Run does.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const (
	// DefaultExchange is Celery's control_exchange.
	DefaultExchange = "celery"

	commandTimeout = 10 * time.Second
	restartTimeout = time.Minute // of pool_restart, which loads an app
	replyTimeout   = 5 * time.Second
	// replyTTL bounds the life of replies that nobody reads. A requester that lives reads
	// them at once, and deletes the list when it stops.
	replyTTL = time.Minute
	// heard is how many requests may wait; more wait in the connection.
	heard = 100
)

// Broker is what remote control needs of a broker.
type Broker interface {
	broker.Broadcaster
	broker.Replier
}

// Config is what a Mailbox is made of. Worker and Broker are required.
type Config struct {
	Worker *worker.Worker
	// Broker carries requests and replies. The mailbox does not close it.
	Broker Broker
	// Commands are the program's own (see tasks.Registry.RegisterCommand). Nil: none.
	Commands *tasks.Registry
	// Exchange is Celery's control_exchange. Default: celery.
	Exchange string
	// Shutdown starts a warm shutdown. Nil: the command fails.
	Shutdown func()

	// Settings returns the effective settings by their names in Celery, with or without
	// those that have their default. Secrets are masked here. Nil: there are none.
	Settings func(withDefaults bool) map[string]any
	// BrokerInfo is the section of stats about the connection: hostname, port and so on.
	BrokerInfo map[string]any
	// Queue finds a queue of task_queues by name, for add_consumer. Nil: there are none.
	Queue func(name string) (broker.Queue, bool)
	// MaxConcurrency is how many tasks at a time pool_grow and autoscale may have the pool run, so that no mistyped
	// request ends the worker. Default: 1000. More than that may be configured.
	MaxConcurrency int
	// Version is the program's, for report.
	Version string
	// Python returns the versions of a Python app's software, by Celery's words, and the class of its
	// loader, for report. Nil: there is no app.
	Python func() (software map[string]string, loader string)

	// Events sends the worker's events. Nil: it sends none.
	Events Events
	// Gossip takes part in elections. Nil: the worker does not.
	Gossip Gossip

	// Logger gets Celery's log lines. Default: slog.Default().
	Logger *slog.Logger
}

// Mailbox receives the requests that concern one node, and answers them one at a time, in
// their order.
type Mailbox struct {
	cfg      Config
	log      *slog.Logger
	w        *worker.Worker
	hostname string
	commands map[string]*tasks.Entry // Celery's, by their names
	memory   memory
	clock    worker.Clock // of requests and replies; the worker's own is that of events
	listens  chan struct{}
}

// New checks the configuration and builds a mailbox. It starts nothing.
func New(cfg Config) (*Mailbox, error) {
	var errs []error
	if cfg.Worker == nil {
		errs = append(errs, errors.New("control: Worker is required"))
	}
	if cfg.Broker == nil {
		errs = append(errs, errors.New("control: Broker is required"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if cfg.MaxConcurrency == 0 {
		cfg.MaxConcurrency = 1000
	}
	if cfg.Exchange == "" {
		cfg.Exchange = DefaultExchange
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	m := &Mailbox{
		cfg: cfg, log: cfg.Logger, w: cfg.Worker, hostname: cfg.Worker.Hostname(), listens: make(chan struct{}),
	}
	m.commands = m.entries()
	return m, nil
}

// Listening is closed when the mailbox hears requests for the first time.
func (m *Mailbox) Listening() <-chan struct{} { return m.listens }

// Run answers requests until ctx is done. What it has heard by then and not begun with
// stays unanswered, as with a Celery worker that shuts down. It returns an error if
// requests cannot be heard at all.
func (m *Mailbox) Run(ctx context.Context) error {
	requests := make(chan broker.Content, heard)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for raw := range requests {
			if ctx.Err() == nil {
				m.receive(ctx, raw)
			}
		}
	}()
	exchange := m.cfg.Exchange + ".pidbox"
	err := m.cfg.Broker.Subscribe(ctx, broker.Subscription{
		Exchange: exchange, Queue: m.hostname + "." + exchange,
		Handle: func(_ string, message broker.Content) {
			select {
			case requests <- message:
			case <-ctx.Done():
			}
		},
		OnState: m.state(),
	})
	close(requests)
	<-done
	if errors.Is(err, ctx.Err()) {
		return nil
	}
	return fmt.Errorf("control: %w", err)
}

// state returns what is told when requests start and cease to be heard.
func (m *Mailbox) state() func(subscribed bool, err error) {
	first, failing := true, false
	return func(subscribed bool, err error) {
		switch {
		case err != nil && !errors.Is(err, context.Canceled):
			if !failing {
				m.log.Error("pidbox: cannot hear remote control: "+err.Error()+". Trying again until it works",
					logline.EventKey, "pidbox: cannot hear remote control", "error", err)
			}
			failing = true
		case subscribed && first:
			close(m.listens)
			first = false
		}
		if subscribed && err == nil && failing {
			m.log.Info("pidbox: hears remote control again")
			failing = false
		}
	}
}

// receive handles one message.
func (m *Mailbox) receive(ctx context.Context, message broker.Content) {
	m.w.Clock().Forward() // as Celery's Pidbox.on_message: clients have no clock worth adjusting to
	var received protocol.Received
	message.Read(&received)
	r, err := m.w.Decoder().DecodeControlRequest(&received)
	if err != nil {
		m.log.Error("Cannot decode message: "+err.Error(), logline.EventKey, "Cannot decode a control message", "error", err)
		return
	}
	m.clock.Adjust(r.Clock)
	switch concerned, err := concerns(r, m.hostname); {
	case err != nil:
		m.log.Error("Control command error: "+err.Error(), logline.EventKey, "Control command error", "error", err)
	case concerned:
		m.answer(ctx, r)
	}
}

// errNoReply is the outcome of a command that does not answer, whoever waits.
var errNoReply = errors.New("control: no reply")

// answer runs a command, and replies if that is wanted.
func (m *Mailbox) answer(ctx context.Context, r *protocol.ControlRequest) {
	if m.log.Enabled(ctx, slog.LevelDebug) {
		m.log.Debug(receivedLine(r), logline.EventKey, "pidbox received a method", "method", r.Method)
	}
	limit := commandTimeout
	if r.Method == poolRestart {
		limit = restartTimeout
	}
	running, cancel := context.WithTimeout(ctx, limit)
	value, err := m.run(running, r)
	cancel()
	if errors.Is(err, errNoReply) {
		return
	}
	encoded := json.RawMessage("null")
	if err == nil && value != nil {
		encoded, err = encode(value)
	}
	if err != nil {
		exc := tasks.ExceptionOf(err)
		m.log.Error("pidbox command error: "+exc.Repr(),
			logline.EventKey, "pidbox command error", "exception", exc.Repr(), worker.TracebackKey, exc.Traceback)
		encoded, _ = encode(failed(exc.Repr())) // a text always has a JSON form
	}
	if r.ReplyTo != nil {
		m.reply(ctx, r, encoded)
	}
}

// reply sends a value, raw JSON, to who waits for it.
func (m *Mailbox) reply(ctx context.Context, r *protocol.ControlRequest, value []byte) {
	reply := protocol.ControlReply{Node: m.hostname, Value: value, Ticket: r.Ticket, Clock: m.clock.Forward()}
	message, err := reply.Encode(m.w.Serializer())
	if err != nil { // msgpack has no dates, for one
		exc := tasks.ExceptionOf(tasks.Raise("kombu.exceptions.EncodeError", err.Error()))
		reply.Value, _ = encode(failed(exc.Repr())) // a text always has a form
		message, err = reply.Encode(m.w.Serializer())
	}
	sendReply(ctx, m.cfg.Broker, m.log, r, message, err)
}

// sendReply sends a reply that was encoded, unless that failed, and logs what goes wrong.
func sendReply(ctx context.Context, to broker.Replier, log *slog.Logger, r *protocol.ControlRequest, message protocol.Message, err error) {
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replyTimeout)
		defer cancel()
		_, err = to.Reply(ctx, broker.Publication{
			Exchange: r.ReplyTo.Exchange, RoutingKey: r.ReplyTo.RoutingKey, Message: message,
		}, replyTTL)
	}
	if err != nil {
		log.Error("Cannot reply to remote control: "+err.Error(), logline.EventKey, "Cannot reply to remote control", "error", err)
	}
}

type workerKey struct{}

// Worker returns the worker that a command is run on; nil outside of a command.
func Worker(ctx context.Context) *worker.Worker {
	w, _ := ctx.Value(workerKey{}).(*worker.Worker)
	return w
}

// run finds a command, binds its arguments and calls it.
func (m *Mailbox) run(ctx context.Context, r *protocol.ControlRequest) (any, error) {
	entry := m.commands[r.Method]
	if m.cfg.Commands != nil {
		if own, ok := m.cfg.Commands.LookupCommand(r.Method); ok {
			entry = own
		}
	}
	if entry == nil {
		return nil, tasks.Raise("KeyError", r.Method)
	}
	ctx = context.WithValue(ctx, workerKey{}, m.w)
	return m.w.Operations().Call(ctx, entry, &tasks.Request{
		Task: &protocol.Task{Name: entry.Name, Args: []byte("[]"), Kwargs: r.Arguments}, Hostname: m.hostname,
	})
}
