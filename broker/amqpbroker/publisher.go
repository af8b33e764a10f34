package amqpbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/settings/connection"
)

// PublisherConfig says how to publish. URL is required.
type PublisherConfig struct {
	URL        string // as in Config
	Connection connection.AMQP

	// Queue is how a queue of that name is declared before the first message for it; with an error, it is
	// not. Nil: as Celery makes it of a plain name.
	Queue func(name string) (broker.Queue, error)
	// Bound are queues that are declared before the first message for their exchange and routing key.
	Bound []broker.Queue

	// Delays has messages with a Delay wait in Celery's native delayed delivery, if they are for queues of Bound
	// behind topic or fanout exchanges: Celery's producers do so where there are quorum queues.
	Delays bool
	// DelayQueueType is as in Config.
	DelayQueueType string

	// ControlExchange and EventExchange are Celery's settings of these names. "": celery, celeryev.
	ControlExchange, EventExchange string
	// Control and Events are the queues of one's own at these exchanges.
	Control, Events Mailbox

	Logger *slog.Logger // nil: slog.Default()
	// TellLosses logs in Celery's words that the connection to publish on is lost, and made again: nobody else
	// does, as no consumer is connected with the same broker.
	TellLosses bool
}

// Mailbox says what the queues are like that one has to oneself: control_queue_… and event_queue_….
type Mailbox struct {
	TTL     time.Duration // of messages; 0: they stay
	Expires time.Duration // of a queue that nobody reads; 0: never
	Shared  bool          // not exclusive to the connection
	Durable bool          // it outlives broker and reader; only with Shared
	Prefix  string        // of the names of those that nobody has named; "": the exchange's name
}

// Publisher publishes messages and broadcasts them. It has one connection to publish, which the broker may
// block, and a second one, once it is needed, to hear what is sent to it.
type Publisher struct {
	cfg    PublisherConfig
	log    *slog.Logger
	rabbit *rabbitconn.Config

	holder  *rabbitconn.Holder
	hearing *rabbitconn.Later
	tasks   lines // what is refused here does not disturb the others
	talk    lines // events, remote control
	slots   slots

	ctx    context.Context //nolint:containedctx // ends subscriptions
	cancel context.CancelFunc

	mu       sync.Mutex
	closed   bool
	declared map[target]bool
	epoch    uint64 // of declared
	warned   map[target]bool

	delays publisherDelays
}

var _ broker.Publisher = (*Publisher)(nil)

// OpenPublisher connects. It fails if the broker cannot be reached now.
func OpenPublisher(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	cfg.setDefaults()
	rabbit, err := rabbitconn.Parse(cfg.URL, cfg.Connection)
	if err != nil {
		return nil, fmt.Errorf("amqpbroker: %w", err)
	}
	var holding rabbitconn.Holding
	if cfg.TellLosses {
		holding.Logger = cfg.Logger
	}
	holder, err := rabbitconn.Hold(ctx, rabbit, holding)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg: cfg, log: cfg.Logger, rabbit: rabbit, holder: holder,
		hearing: rabbitconn.HoldLater(rabbit.Named(cfg.Connection.Name+" listener"), rabbitconn.Holding{}), tasks: newLines(holder), talk: newLines(holder),
		declared: map[target]bool{}, warned: map[target]bool{}, slots: newSlots(),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

func (c *PublisherConfig) setDefaults() {
	if c.ControlExchange == "" {
		c.ControlExchange = "celery"
	}
	if c.EventExchange == "" {
		c.EventExchange = "celeryev"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.DelayQueueType == "" {
		c.DelayQueueType = "quorum"
	}
	if c.Connection.Name == "" {
		host, _ := os.Hostname() // for display only
		c.Connection.Name = host + " publisher"
	}
}

// Server is Server of Config.
func (c *PublisherConfig) Server() (connection.Server, error) {
	return rabbitconn.ServerOf(c.URL, c.Connection)
}

// Connected tells whether there is a connection to publish on right now.
func (p *Publisher) Connected() bool { return p.holder.Connected() }

// Reconnects is how often that connection has been made again.
func (p *Publisher) Reconnects() int64 { return p.holder.Reconnects() }

// Blocked tells whether the broker takes no messages now, and its reason: memory or disk is short.
func (p *Publisher) Blocked() (reason string, blocked bool) {
	if conn := p.holder.Current(); conn != nil {
		return conn.Blocked()
	}
	return "", false
}

// Publish sends messages in order and waits until the broker has confirmed them all. What it cannot route,
// or forbids, is refused; the others are published all the same. Before the first message for a queue
// that is declared, as by Python. While the broker is away, or blocks publishers, Publish waits until ctx is
// done. What was not confirmed when a connection broke is published again: perhaps twice.
func (p *Publisher) Publish(ctx context.Context, messages ...broker.Publication) error {
	all, err := p.outgoing(messages)
	if err != nil {
		return err
	}
	return p.publish(ctx, &p.tasks, messages, all)
}

// outgoing makes what is sent of messages. If one of them has no form, none is sent.
func (p *Publisher) outgoing(messages []broker.Publication) ([]*outgoing, error) {
	all := make([]*outgoing, len(messages))
	for i := range messages {
		m := &messages[i]
		out := &outgoing{index: i, exchange: m.Exchange, key: m.RoutingKey, mandatory: m.ExchangeType != broker.Fanout}
		var err error
		if out.Publishing, err = publishing(&m.Message, p.rabbit.Username()); err == nil {
			err = errors.Join(short("exchange", m.Exchange), short("routing key", m.RoutingKey))
		}
		if err != nil {
			return nil, &broker.RefusedError{Publication: *m, Index: i, Err: fmt.Errorf("message %d: %w", i+1, err)}
		}
		all[i] = out
	}
	return all, nil
}

func short(what, name string) error {
	if len(name) > rabbitconn.LongestText {
		return fmt.Errorf("%s %.40q… has %d bytes; AMQP allows for %d", what, name, len(name), rabbitconn.LongestText)
	}
	return nil
}

// publish sends messages until the broker has answered for each.
func (p *Publisher) publish(ctx context.Context, on *lines, messages []broker.Publication, pending []*outgoing) error {
	refused := map[int]error{}
	for attempt := 0; len(pending) > 0; attempt++ {
		if err := pauseAgain(ctx, p.ctx.Done(), attempt); err != nil {
			return fmt.Errorf("publish to %s: %w", address(pending[0]), err)
		}
		l, err := on.get(ctx)
		if err != nil {
			return fmt.Errorf("publish to %s: %w", address(pending[0]), closedError(err))
		}
		if pending = p.declareTargets(l.conn, messages, pending, refused); len(pending) == 0 {
			break
		}
		p.delay(l.conn, messages, pending)
		if err := l.send(ctx, pending); err != nil {
			return fmt.Errorf("publish to %s: %w", address(pending[0]), err)
		}
		pending = p.sort(l, pending, refused)
		if l.refusal() != nil {
			if pending, err = p.publishEach(ctx, l.conn, pending, refused); err != nil {
				return err
			}
		}
	}
	return refusals(messages, refused)
}

// sort returns the messages that are to be sent again, and notes those that are refused.
func (p *Publisher) sort(l *line, sent []*outgoing, refused map[int]error) (again []*outgoing) {
	for _, m := range sent {
		switch accepted, returned := l.accepted(m); {
		case returned && m.again:
			refused[m.index] = broker.ErrUnroutable
		case returned:
			m.again = true
			p.undeclare(m) // its queue may have been deleted since
			again = append(again, m)
		case !accepted:
			again = append(again, m)
		}
	}
	return again
}

// publishEach sends messages one by one, each on a line of its own: so it is found out which of them the
// broker closes the channel for.
func (p *Publisher) publishEach(ctx context.Context, conn *rabbitconn.Connection, pending []*outgoing, refused map[int]error) (again []*outgoing, err error) {
	for i, m := range pending {
		l, err := openLine(conn)
		if err != nil {
			return append(again, pending[i:]...), nil //nolint:nilerr // the connection is lost: another one follows
		}
		if err := l.send(ctx, pending[i:i+1]); err != nil {
			_ = l.ch.Close() // nobody waits for it
			return nil, fmt.Errorf("publish to %s: %w", address(m), err)
		}
		switch why := l.refusal(); {
		case why != nil && m.exchange == delayEntrance && rabbitconn.Code(why) == amqp.NotFound && !m.again:
			m.again = true
			p.forgetDelays()
			again = append(again, m)
			continue
		case why != nil:
			refused[m.index] = describe(why)
			continue
		}
		again = append(again, p.sort(l, pending[i:i+1], refused)...)
		_ = l.ch.Close() // all is confirmed
	}
	return again, nil
}

// describe makes ErrUnroutable of an exchange that is not there.
func describe(why error) error {
	err := errors.New(rabbitconn.Describe(why))
	if rabbitconn.Code(why) == amqp.NotFound {
		return errors.Join(broker.ErrUnroutable, err)
	}
	return err
}

// refusals makes the error of a call.
func refusals(messages []broker.Publication, refused map[int]error) error {
	var errs []error
	for i := range messages {
		if err := refused[i]; err != nil {
			errs = append(errs, &broker.RefusedError{Publication: messages[i], Index: i, OthersSent: true, Err: fmt.Errorf("message %d: %w", i+1, err)})
		}
	}
	return errors.Join(errs...)
}

// pauseAgain waits before messages are sent again, or until closed is.
func pauseAgain(ctx context.Context, closed <-chan struct{}, attempt int) error {
	select {
	case <-closed:
		return broker.ErrClosed
	default:
	}
	if attempt < 2 {
		return nil // after a returned message, or a lost connection, at once
	}
	select {
	case <-time.After(min(time.Duration(attempt-1)*50*time.Millisecond, time.Second)):
		return nil
	case <-closed:
		return broker.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: the broker refuses it for now", context.Cause(ctx))
	}
}

func closedError(err error) error {
	if errors.Is(err, rabbitconn.ErrClosed) {
		return broker.ErrClosed
	}
	return err
}

// address names where a message goes, for errors.
func address(m *outgoing) string {
	if m.exchange == "" {
		return fmt.Sprintf("queue %q", m.key)
	}
	return fmt.Sprintf("exchange %q with routing key %q", m.exchange, m.key)
}

// farewell is how long the broker's answer is waited for at the end.
const farewell = time.Second

// Close ends both connections and all subscriptions. It never fails.
func (p *Publisher) Close() error {
	p.cancel()
	p.mu.Lock()
	already := p.closed
	p.closed = true
	p.mu.Unlock()
	if already {
		return nil
	}
	deadline := time.Now().Add(farewell)
	_ = p.holder.Close(deadline) // all is confirmed
	p.hearing.Close(time.Until(deadline), nil)
	return nil
}
