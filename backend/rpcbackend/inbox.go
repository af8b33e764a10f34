package rpcbackend

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol"
)

// Inbox is the queue of one who sends tasks, and keeps the latest record of each task that arrives there. It
// reads the queue from when a record is first asked for; until then the broker has them. Its methods are safe
// for concurrent use, and wait for the connection while the broker is away, until their context is done.
//
// Other than Celery's, its queue outlives a lost connection: it is deleted by Close, or expires.
type Inbox struct {
	link
	queue   string
	expires time.Duration // 0: never
	log     *slog.Logger

	mu      sync.Mutex
	kept    kept
	reading bool   // the queue is to be read
	reads   uint64 // epoch of the connection that reads it
	channel *amqp.Channel
	probes  map[string]chan struct{} // closed when the probe of that name has come back
}

var (
	_ backend.Loader  = (*Inbox)(nil)
	_ backend.Mailbox = (*Inbox)(nil)
)

// NewInbox returns an inbox, which connects by itself.
func NewInbox(cfg Config) (b *Inbox, err error) {
	b = &Inbox{
		queue: protocol.NewID(), expires: max(0, cmp.Or(cfg.Expires, DefaultExpires)), log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		probes: make(map[string]chan struct{}),
	}
	b.kept = newKept(b.expires, cmp.Or(cfg.MaxKept, defaultKept))
	if b.link, err = newLink(&cfg, b.prepare); err != nil {
		return nil, err
	}
	return b, nil
}

// defaultKept is the default of Config.MaxKept.
const defaultKept = 256 << 20

// ReplyTo implements backend.Mailbox.
func (b *Inbox) ReplyTo() string { return b.queue }

// Receive implements backend.Mailbox.
func (b *Inbox) Receive(ctx context.Context) error { return b.Ping(ctx) }

// prepare is called with each connection before it is used.
func (b *Inbox) prepare(_ context.Context, conn *rabbitconn.Connection) error {
	channel, err := conn.Channel()
	if err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(b.queue, true, false, false, false, b.arguments()); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.channel = channel
	if !b.reading {
		return nil
	}
	return b.consumeLocked(conn)
}

// arguments are those of the queue. As kombu has it, a number is as long as it need be.
func (b *Inbox) arguments() amqp.Table {
	switch ms := b.expires.Milliseconds(); {
	case ms == 0:
		return nil
	case ms <= math.MaxInt32:
		return amqp.Table{"x-expires": int32(ms)}
	default:
		return amqp.Table{"x-expires": ms}
	}
}

// unacked is how many records may be on their way.
const unacked = 1000

func (b *Inbox) consumeLocked(conn *rabbitconn.Connection) error {
	if err := b.channel.Qos(unacked, 0, false); err != nil {
		return err
	}
	deliveries, err := b.channel.Consume(b.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	b.reads = conn.Epoch
	go b.take(conn, deliveries)
	return nil
}

// take keeps what arrives. It lives as long as the channel does. That may end before its connection, because
// the queue was deleted: then a new connection declares it again.
func (b *Inbox) take(conn *rabbitconn.Connection, deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		b.mu.Lock()
		b.keepLocked(&d)
		b.mu.Unlock()
		if len(deliveries) == 0 || d.DeliveryTag%(unacked/2) == 0 {
			_ = d.Ack(true) // if it fails the channel is gone
		}
	}
	_ = conn.CloseBy(time.Now().Add(farewell))
}

// probeType is the type of the messages that an inbox sends itself.
const probeType = "apium.probe"

func (b *Inbox) keepLocked(d *amqp.Delivery) {
	if d.Type == probeType {
		if back := b.probes[d.MessageId]; back != nil {
			close(back)
			delete(b.probes, d.MessageId)
		}
		return
	}
	taskID, document, err := record(d)
	if err != nil {
		b.log.Warn(fmt.Sprintf("Cannot read a result of task %s: %v", cmp.Or(taskID, "?"), err),
			logline.EventKey, "Cannot read a result", "task_id", taskID, "error", err)
	}
	if taskID != "" {
		b.kept.add(taskID, document, err)
	}
}

// read has the queue read.
func (b *Inbox) read(ctx context.Context) (*rabbitconn.Connection, error) {
	for {
		conn, err := b.get(ctx)
		if err != nil {
			return nil, err
		}
		b.mu.Lock()
		b.reading = true
		if b.reads != conn.Epoch {
			err = b.consumeLocked(conn)
		}
		b.mu.Unlock()
		if err == nil {
			return conn, nil
		}
		select {
		case <-conn.Done(): // another one follows
		default:
			_ = conn.CloseBy(time.Now().Add(farewell))
			return nil, fmt.Errorf("read results: %w", err)
		}
	}
}

// catchUp returns when all is kept that had arrived in the queue when it was called.
func (b *Inbox) catchUp(ctx context.Context) error {
	for {
		conn, err := b.read(ctx)
		if err != nil {
			return err
		}
		id, back := protocol.NewID(), make(chan struct{})
		b.mu.Lock()
		b.probes[id] = back
		channel := b.channel
		b.mu.Unlock()
		err = channel.Publish("", b.queue, false, false, amqp.Publishing{Type: probeType, MessageId: id})
		if err == nil {
			select {
			case <-back:
				return nil
			case <-conn.Done():
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		b.mu.Lock()
		delete(b.probes, id)
		b.mu.Unlock()
		switch {
		case b.later.IsClosed():
			return backend.ErrClosed
		case ctx.Err() != nil:
			return err
		}
		if err != nil {
			_ = conn.CloseBy(time.Now().Add(farewell))
		}
	}
}

// onlySender says why a record may never come.
const onlySender = "over rpc:// it comes only to the client that has sent the task"

// Load implements backend.Loader.
func (b *Inbox) Load(ctx context.Context, taskID string) ([]byte, error) {
	if err := b.catchUp(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	document, err := b.kept.of(taskID)
	if document == nil && err == nil {
		err = fmt.Errorf("%w for task %s: "+onlySender, backend.ErrNotFound, taskID)
	}
	return document, err
}

// LoadMany implements backend.Loader.
func (b *Inbox) LoadMany(ctx context.Context, taskIDs ...string) ([][]byte, error) {
	if err := b.catchUp(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	documents := make([][]byte, len(taskIDs))
	for i, id := range taskIDs {
		var err error
		if documents[i], err = b.kept.of(id); err != nil {
			return nil, err
		}
	}
	return documents, nil
}

// Forget implements backend.Loader.
func (b *Inbox) Forget(ctx context.Context, taskIDs ...string) error {
	if err := b.catchUp(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range taskIDs {
		b.kept.forget(id)
	}
	return nil
}

// Wait implements backend.Loader.
func (b *Inbox) Wait(ctx context.Context, taskID string) ([]byte, error) {
	return b.Watch(ctx, taskID, nil)
}

// Watch implements backend.Loader.
func (b *Inbox) Watch(ctx context.Context, taskID string, unready func([]byte)) ([]byte, error) {
	if _, err := b.read(ctx); err != nil {
		return nil, err
	}
	w := newWatcher(unready != nil)
	b.mu.Lock()
	b.kept.watch(taskID, w)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.kept.leave(taskID, w)
	}()
	for {
		select {
		case news := <-w.news:
			switch {
			case news.err != nil:
				return nil, news.err
			case news.ready:
				return bytes.Clone(news.document), nil
			}
			unready(bytes.Clone(news.document))
		case <-b.later.Closed():
			return nil, backend.ErrClosed
		case <-ctx.Done():
			return nil, b.notCome(taskID, context.Cause(ctx))
		}
	}
}

// notCome is the error of who has not waited for longer.
func (b *Inbox) notCome(taskID string, cause error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept.byTask[taskID] != nil { // it is not ready
		return cause
	}
	return fmt.Errorf("no result of task %s has come ("+onlySender+"): %w", taskID, cause)
}

// Close deletes the queue and ends the connection. It never fails. Calls in flight return backend.ErrClosed.
func (b *Inbox) Close() error {
	b.close(func(conn *rabbitconn.Connection) {
		deleted := make(chan struct{})
		go func() {
			defer close(deleted)
			if channel, err := conn.Channel(); err == nil {
				_, _ = channel.QueueDelete(b.queue, false, false, true) // else it expires
			}
		}()
		select {
		case <-deleted:
		case <-time.After(farewell):
		}
	})
	return nil
}
