package redisbackend

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/redisconn"
)

// Wait implements backend.Loader. All calls share one connection: they subscribe
// to the record's key first, then look, then listen, so nothing can be missed;
// after a lost connection they subscribe and look again.
func (b *Backend) Wait(ctx context.Context, taskID string) ([]byte, error) {
	return b.Watch(ctx, taskID, nil)
}

// Watch implements backend.Loader.
func (b *Backend) Watch(ctx context.Context, taskID string, unready func([]byte)) ([]byte, error) {
	key := b.key(taskID)
	w, err := b.hub.join(key, unready != nil)
	if err != nil {
		return nil, err
	}
	defer b.hub.leave(key, w)
	var last []byte
	for {
		record, err := b.next(ctx, taskID, w)
		if err != nil {
			return nil, err
		}
		state, err := backend.State(record)
		if err == nil && state.Ready() {
			return record, nil
		}
		// What was looked at is published, too, if it was stored just now.
		if unready != nil && err == nil && !bytes.Equal(record, last) {
			unready(record)
			last = record
		}
	}
}

// next returns the next record that a waiter comes to know of.
func (b *Backend) next(ctx context.Context, taskID string, w *waiter) ([]byte, error) {
	for {
		select {
		case packed := <-w.messages:
			return b.readable(packed, "task", taskID)
		case <-w.look:
			record, err := b.Load(ctx, taskID)
			switch {
			case redisconn.IsRetryable(err):
				w.signal() // the pipeline waits for its connection
			case !errors.Is(err, backend.ErrNotFound):
				return record, err
			}
		case <-b.hub.ctx.Done():
			return nil, backend.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// waiter is one call of Wait or Watch.
type waiter struct {
	messages chan []byte   // the latest records
	look     chan struct{} // capacity 1: the subscription has begun, so look
	unready  bool          // wants records that are not ready, too
}

// watched is how many records are kept for a call of Watch that is slow.
const watched = 64

func newWaiter(unready bool) *waiter {
	size := 1
	if unready {
		size = watched
	}
	return &waiter{messages: make(chan []byte, size), look: make(chan struct{}, 1), unready: unready}
}

// tell hands over a record, in place of the oldest one if need be. Only the hub's
// goroutine calls it.
func (w *waiter) tell(record []byte) {
	for {
		select {
		case w.messages <- record:
			return
		default:
		}
		select {
		case <-w.messages:
		default:
		}
	}
}

func (w *waiter) signal() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// hub shares one pub/sub connection among the calls of Wait. Its goroutine, run,
// starts with the first and ends with close.
type hub struct {
	cfg    *redisconn.Config
	ctx    context.Context //nolint:containedctx // done: closed
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	running bool
	conn    redis.Conn // nil while disconnected
	waits   map[string]map[*waiter]bool
}

func newHub(cfg *redisconn.Config) *hub {
	ctx, cancel := context.WithCancel(context.Background())
	return &hub{cfg: cfg, ctx: ctx, cancel: cancel, waits: make(map[string]map[*waiter]bool)}
}

func (h *hub) close() {
	h.mu.Lock()
	h.cancel()
	if h.conn != nil {
		h.conn.Close()
	}
	h.mu.Unlock()
	h.ended.Wait()
}

// join enters a waiter for a channel. It is told to look once subscribed.
func (h *hub) join(channel string, unready bool) (*waiter, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return nil, backend.ErrClosed
	}
	if !h.running {
		h.running = true
		h.ended.Go(h.run)
	}
	w := newWaiter(unready)
	if h.waits[channel] == nil {
		h.waits[channel] = make(map[*waiter]bool)
	}
	h.waits[channel][w] = true
	// Also when others listen already: the answer tells this one to look.
	h.send("SUBSCRIBE", channel)
	return w, nil
}

func (h *hub) leave(channel string, w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waits[channel], w)
	if len(h.waits[channel]) == 0 {
		delete(h.waits, channel)
		h.send("UNSUBSCRIBE", channel)
	}
}

// send sends a command if there is a connection. h.mu is held.
func (h *hub) send(cmd string, args ...any) {
	if h.conn == nil {
		return // run subscribes to everything when it has one
	}
	err := h.conn.Send(cmd, args...)
	if err == nil {
		err = h.conn.Flush()
	}
	if err != nil {
		h.conn.Close() // run finds out
	}
}

// run keeps the connection up and reads it.
func (h *hub) run() {
	pause := 50 * time.Millisecond
	for h.ctx.Err() == nil {
		conn, err := h.connect()
		switch {
		case err == nil:
			start := time.Now()
			h.listen(conn)
			if time.Since(start) > time.Second {
				pause = 50 * time.Millisecond
			}
		case redisconn.IsConfig(err):
			h.all((*waiter).signal) // looking fails in the same way, and says so
		}
		select {
		case <-time.After(rand.N(pause)):
		case <-h.ctx.Done():
		}
		pause = min(2*pause, time.Second) // Celery's own limit between attempts
	}
}

// connect dials and subscribes to all that is waited for.
func (h *hub) connect() (redis.Conn, error) {
	conn, err := h.cfg.DialListener(h.ctx, h.ping)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		conn.Close()
		return nil, h.ctx.Err()
	}
	h.conn = conn
	if len(h.waits) > 0 {
		channels := make([]any, 0, len(h.waits))
		for c := range h.waits {
			channels = append(channels, c)
		}
		h.send("SUBSCRIBE", channels...)
	}
	return conn, nil
}

// listen hands out what arrives until the connection breaks or falls silent.
func (h *hub) listen(conn redis.Conn) {
	defer func() {
		h.mu.Lock()
		h.conn = nil
		h.mu.Unlock()
		conn.Close()
	}()
	for {
		reply, err := conn.Receive()
		if err != nil {
			if redisconn.IsConfig(err) || redisconn.IsRefused(err) {
				h.all((*waiter).signal) // it will not be published to us: look from time to time
			}
			return
		}
		// Arrays of kind, channel and data; a PONG is a plain string or an array of two.
		push, _ := redis.ByteSlices(reply, nil)
		if len(push) == 3 {
			h.handle(string(push[0]), string(push[1]), push[2])
		}
	}
}

// ping has the server say something, so that silence means that it is gone.
func (h *hub) ping(conn redis.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if conn.Send("PING") == nil {
		_ = conn.Flush() // run finds out
	}
}

func (h *hub) handle(kind, channel string, data []byte) {
	switch kind {
	case "subscribe":
		h.each(channel, (*waiter).signal)
	case "message":
		state, err := backend.State(data)
		unready := err == nil && !state.Ready() // the compressed ones, which have no state yet, pass
		h.each(channel, func(w *waiter) {
			if w.unready || !unready {
				w.tell(data)
			}
		})
	}
}

func (h *hub) all(f func(*waiter)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, waiters := range h.waits {
		for w := range waiters {
			f(w)
		}
	}
}

func (h *hub) each(channel string, f func(*waiter)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waits[channel] {
		f(w)
	}
}
