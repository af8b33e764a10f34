// Package broker says what a worker and a client need of a message broker.
//
// The implementations are redisbroker (Redis, in kombu's layout) and membroker
// (in memory, for tests). brokertest holds the tests every implementation passes.
package broker

import (
	"context"
	"errors"
	"time"
)

// ErrClosed is returned by every method of a consumer or publisher after Close.
var ErrClosed = errors.New("broker: closed")

// Delivery is one claimed message. Until it is acked, requeued or lost, it is
// leased to the consumer that claimed it and nobody else runs it.
type Delivery struct {
	Tag   string // names the claim, not the message; unique per claim
	Queue string // the queue it was claimed from
	Raw   []byte // the queue entry, byte for byte; the receiver owns it

	// Term is the consumer's term in which it was claimed, and Claimed when its lease began,
	// or the zero time where that is not known; see [Leaser].
	Term    uint64
	Claimed time.Time

	// Redeliveries counts how often the message went back because a worker that held it
	// died, as far as is known; see [Starter].
	Redeliveries int
}

// Place says where a requeued message goes in its queue.
type Place int

const (
	// Front puts a message where it is served next: work that was claimed and
	// not started goes back this way.
	Front Place = iota
	// Back puts a message where it is served last: kombu's reject(requeue=True).
	Back
	// Untouched puts a message where Front does, byte for byte: it was claimed in vain, and
	// is not to pass for one that somebody may have run.
	Untouched
)

// Consumer claims messages from the queues it was opened with and settles them.
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

	// Requeue gives deliveries back to their queues, marked as redelivered unless they
	// are Untouched. With Front and Untouched, deliveries given in the order they were
	// claimed are served in that order again. Deliveries whose lease was lost are left
	// alone.
	Requeue(ctx context.Context, place Place, deliveries ...Delivery) error

	// Extend renews the leases and returns the tags that are no longer ours.
	Extend(ctx context.Context, tags ...string) (lost []string, err error)

	// Close stops claiming, gives back what was claimed but never returned by
	// Claim, and withdraws the consumer's sign of life. Deliveries still held
	// are handed back by peers, or by their visibility timeout.
	Close() error
}
