package events

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/pyjson"
)

const (
	batchMost  = 100      // events in one message
	batchSize  = 1 << 10  // bytes that a batch is begun with, at least
	bufferMost = 16 << 20 // bytes of events that wait for the broker
	sendMost   = 1 << 20  // bytes that are sent at a time, about
)

// buffer holds events until they are sent, in the order of their clocks.
type buffer struct {
	woken   chan struct{} // capacity 1: there is something to send
	urgent  chan struct{} // capacity 1: there is something to send that does not wait for more
	dropped atomic.Int64

	mu      sync.Mutex
	batches []batch
	size    int // bytes in batches, and of what is being sent
	usual   int // bytes that a batch is likely to have
}

// batch is the body of a message: an event, or a list of them.
type batch struct {
	from       *source
	routingKey string
	body       fields
	events     int  // 0: not a list
	open       bool // more may be added to the list
}

// open returns a batch for one more event of tasks, with all that comes before it.
// b.mu is held.
func (b *buffer) open(from *source) *batch {
	if n := len(b.batches); n > 0 {
		last := &b.batches[n-1]
		if last.open && last.events < batchMost {
			last.events++
			last.body = pyjson.AppendComma(last.body)
			return last
		}
		b.close(last)
	}
	body := append(make(fields, 0, max(batchSize, b.usual)), '[')
	b.batches = append(b.batches, batch{from: from, routingKey: "task.multi", body: body, events: 1, open: true})
	b.size++
	return &b.batches[len(b.batches)-1]
}

// close ends the list of a batch that is open: from then on it is what is sent. The next ones get as much memory at once as
// this one took, or those before it. b.mu is held.
func (b *buffer) close(t *batch) {
	if !t.open {
		return
	}
	t.open = false
	t.body = append(t.body, ']')
	b.size++
	const spare, forget = 16, 8
	b.usual = max(len(t.body)+len(t.body)/spare, b.usual-b.usual/forget)
}

// full tells that events of tasks are to be dropped. b.mu is held.
func (b *buffer) full() bool {
	if b.size < bufferMost {
		return false
	}
	b.dropped.Add(1)
	return true
}

// grown notes that so many bytes have been added, and wakes the sender. b.mu is held.
func (b *buffer) grown(bytes int, wake chan struct{}) {
	b.size += bytes
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (b *buffer) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.batches) == 0
}

// take returns the next batches to be sent; nil: there are none.
func (b *buffer) take() []batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, bytes := 0, 0
	for n < len(b.batches) && bytes < sendMost {
		b.close(&b.batches[n])
		bytes += len(b.batches[n].body)
		n++
	}
	taken := b.batches[:n:n]
	b.batches = b.batches[n:]
	return taken
}

// putBack takes back what could not be sent, and done notes that it needs no room any more.
func (b *buffer) putBack(taken []batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := &taken[len(taken)-1]; last.events > 0 && last.events < batchMost && len(b.batches) == 0 {
		body := last.body[:len(last.body)-1]
		last.body, last.open = slices.Clip(body), true // what is added goes elsewhere: this may still be on its way
		b.size--
	}
	b.batches = append(taken, b.batches...)
}

func (b *buffer) done(taken []batch, dropped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range taken {
		b.size -= len(t.body)
		if dropped {
			b.dropped.Add(int64(max(t.events, 1)))
		}
	}
}

// sendTimeout bounds one attempt to send: the broker may be away.
const sendTimeout = 2 * time.Second

// send sends all there is, and returns how many messages that were. What cannot be sent now
// stays, what is refused is dropped.
func (b *buffer) send(ctx context.Context, to broker.Broadcaster) (sent int, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for {
		taken := b.take()
		if len(taken) == 0 {
			return sent, nil
		}
		messages := make([]broker.Publication, len(taken))
		for i, t := range taken {
			messages[i] = t.from.message(t.routingKey, t.body)
		}
		err := to.Broadcast(ctx, messages...)
		var refused *broker.RefusedError
		if err != nil && !errors.As(err, &refused) {
			b.putBack(taken)
			return sent, err
		}
		b.done(taken, refused != nil)
		if refused != nil {
			return sent, err
		}
		sent += len(taken)
	}
}
