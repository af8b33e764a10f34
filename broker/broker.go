// Package broker says what a worker and a client need of a message broker.
//
// The implementations are redisbroker (Redis, in kombu's layout) and membroker
// (in memory, for tests). brokertest holds the tests every implementation passes.
package broker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/protocol"
)

// ErrClosed is returned by every method of a consumer or publisher after Close.
var ErrClosed = errors.New("broker: closed")

// Delivery is one claimed message. Until it is acked, requeued or lost, it is
// leased to the consumer that claimed it and nobody else runs it.
type Delivery struct {
	Tag   string // names the claim, not the message; unique per claim
	Queue string // the queue it was claimed from
	Content

	// Term is the consumer's term in which it was claimed, and Claimed when its lease began,
	// or the zero time where that is not known; see [Leaser].
	Term    uint64
	Claimed time.Time

	// Unparked tells that it was parked, and comes through its queue as it is due: see [Parker].
	Unparked bool

	// Redeliveries counts how often the message went back because a worker that held it
	// died, as far as is known; see [Starter].
	Redeliveries int
}

// Content is a message that was delivered, as its transport holds it.
type Content struct {
	// Raw is the message in the transport's own form, which nobody else understands. It must
	// not change. nil: the transport delivers messages in parts, which Open has.
	Raw []byte
	// Size is how many bytes the message has, about: it says whether reading it takes long.
	Size int
	// Open reads the message, but for its body, into r; what is wrong with it is r.Err. It
	// may be called several times, and at the same time.
	Open func(raw []byte, r *protocol.Received)
}

// Read reads the message, but for its body. What r then holds are parts of the content.
func (c Content) Read(r *protocol.Received) { c.Open(c.Raw, r) }

// Text is the message for people to read: as the transport has it, or else as JSON.
func (c Content) Text() []byte {
	if c.Raw != nil {
		return c.Raw
	}
	var r protocol.Received
	c.Read(&r)
	return r.Text()
}

// Deliver returns the content of a message that its transport has in parts.
func Deliver(m *protocol.Message, info protocol.Info) Content {
	return Content{Size: m.Size(), Open: func(_ []byte, r *protocol.Received) { r.Set(m, &info) }}
}

// Place says where a requeued message goes in its queue.
type Place int

const (
	// Front puts a message where it is served next: work that was claimed and
	// not started goes back this way.
	Front Place = iota
	// Back puts a message where it is served last: kombu's reject(requeue=True). A broker
	// that has but one place for what is given back puts it there.
	Back
)

// Consumer claims messages from the queues it was opened with and settles them. What it may
// be able to do besides is in [Abilities].
// All methods are safe for concurrent use, except that Claim has one caller at a time.
type Consumer interface {
	// Claim returns between 1 and limit deliveries. It blocks until there is at
	// least one, ctx is done, or the broker fails. A claim interrupted by ctx
	// loses nothing: what it had taken is delivered by the next claim or given
	// back by Close.
	Claim(ctx context.Context, limit int) ([]Delivery, error)

	// Ack removes deliveries for good, in one round trip. lost names the tags
	// whose lease had been lost: somebody else has been, or will be, given the
	// message.
	Ack(ctx context.Context, tags ...string) (lost []string, err error)

	// Requeue gives deliveries back to their queues, marked as redelivered. With Front,
	// deliveries given in the order they were claimed are served in that order again.
	// Deliveries whose lease was lost are left alone. A [Starter] delivers them again with the
	// Redeliveries they are given with.
	Requeue(ctx context.Context, place Place, deliveries ...Delivery) error

	// Extend renews the leases and returns the tags that are no longer ours.
	Extend(ctx context.Context, tags ...string) (lost []string, err error)

	// Close stops claiming, gives back what was claimed but never returned by
	// Claim, and withdraws the consumer's sign of life. Deliveries still held
	// are handed back by peers, or by their visibility timeout.
	Close() error
}
