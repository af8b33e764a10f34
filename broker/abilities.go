package broker

import (
	"context"
	"time"
)

// Lease says for how long a consumer is certain that nobody is given what it holds.
type Lease struct {
	// Term is raised whenever others may have been given what was held until then: a
	// delivery of an earlier term may be run only after Extend has found it still held.
	Term uint64
	// Until is when others may take the consumer for dead unless it shows another sign of
	// life before, by this process's clock. The zero time: at once.
	Until time.Time
}

// Good tells whether the lease holds at a time. It goes by both of the process's clocks: one
// of them stands still while the machine is suspended.
func (l Lease) Good(now time.Time) bool {
	return now.Before(l.Until) && now.Round(0).Before(l.Until.Round(0))
}

// Leaser is implemented by consumers whose deliveries others may be given while they are
// held: because the process was frozen, or cut off from the broker, for longer than the
// others wait.
type Leaser interface {
	Lease() Lease
	// LeaseLasts is how long a delivery is leased by Claim or Extend, however alive its
	// consumer is.
	LeaseLasts() time.Duration
	// Lapsed carries a token when the term was raised.
	Lapsed() <-chan struct{}
	// Beat asks for a sign of life soon. It does not block.
	Beat()
}

// Joiner is implemented by consumers that lose what they hold with their connection, and recognize
// what runs when it is delivered to them again.
type Joiner interface {
	// Begin says that a delivery which is not acknowledged yet is about to be run. It reports false
	// if the delivery is lost: then it must not be run. From then on it stays held although its
	// connection is lost: when the same message is delivered here again, that is not claimed but
	// becomes what this delivery becomes, even if that is known already.
	Begin(tag string) bool
}

// Prefetcher is implemented by consumers to which the broker hands over messages before they
// are claimed.
type Prefetcher interface {
	// SetPrefetch says how many messages the caller means to hold, claimed or about to be
	// claimed. 0: none any more, so that what was not claimed goes back. It does not block. If
	// Claim has room for more than are handed over, because some are held for long, more are
	// handed over nevertheless.
	SetPrefetch(n int)
}

// Unclaimer is implemented by consumers that can undo a claim.
type Unclaimer interface {
	// Unclaim puts deliveries back in front of their queues just as they were, to be served
	// in the order given: they were claimed in vain, and are not to pass for messages that
	// somebody may have run. Deliveries whose lease was lost are left alone.
	Unclaim(ctx context.Context, deliveries ...Delivery) error
}

// Chooser is implemented by consumers that can leave some of their queues alone for a while.
type Chooser interface {
	// ClaimWithout is Claim, but nothing is claimed of the queues for which without is true, and
	// none of their messages ends its wait. It is asked while ClaimWithout runs, by its goroutine.
	ClaimWithout(ctx context.Context, limit int, without func(queue string) bool) ([]Delivery, error)
}

// Returner is implemented by consumers that can take back an acknowledgement.
type Returner interface {
	// Return puts messages that this consumer has acknowledged, and that nobody has started, those of
	// [Bypasser] among them, back in front of their queues, just as they were, to be served in the order given.
	Return(ctx context.Context, acknowledged ...Delivery) error
	// Hold has this consumer hold such messages again under their tags, as if it had not acknowledged them. Those of
	// [Bypasser] have none.
	Hold(ctx context.Context, acknowledged ...Delivery) error
}

// Bypassers is implemented by consumers that can do with a message that is not published.
type Bypassers interface {
	// Bypasser returns what takes messages that p would publish; nil if there is nothing, because p
	// publishes elsewhere for one.
	Bypasser(p Publisher) Bypasser
}

// Bypasser spares a message the way to the broker and back.
type Bypasser interface {
	// Bypass returns a message as it would be claimed if it was published now, and acknowledged: nobody
	// knows of it but the caller. It reports false unless the message goes to one queue of the
	// consumer, and to no other, and Claim waits as there is nothing in any queue. The broker is not asked.
	Bypass(m *Publication) (d Delivery, ok bool)
}

// Parked is a delivery that is due later.
type Parked struct {
	Delivery
	Due    time.Time // by this process's clock
	TaskID string    // for Recaller; "": not to be found by it
}

// Parker is implemented by consumers that can keep messages which are due far in
// the future without holding them in memory.
type Parker interface {
	// Park gives up deliveries until their time, many in one round trip. Nobody holds
	// a parked message, and no worker's death brings it back early. lost is as in
	// [Consumer.Ack]. errors.ErrUnsupported says that this consumer cannot park.
	Park(ctx context.Context, parked ...Parked) (lost []string, err error)
}

// Unparker is implemented by consumers that take back what is parked. Without it the broker puts a
// message into its queue by itself when it is due, or up to a second before.
type Unparker interface {
	// Due claims parked messages of this consumer's queues whose time comes before
	// until, the earliest first and at most limit. It does not block; none is no
	// error. It may be called while Claim is waiting. A message that nobody has
	// claimed a second after its time goes back to its queue.
	Due(ctx context.Context, until time.Time, limit int) ([]Delivery, error)
}

// Recaller is implemented by consumers that find what is parked by its task.
type Recaller interface {
	// Recall claims the parked messages of tasks, whenever they are due. What is not parked
	// in this consumer's queues is no error. With an error come those that were claimed.
	Recall(ctx context.Context, taskIDs ...string) ([]Delivery, error)
}

// ParkedLister is implemented by consumers that can tell what is parked.
type ParkedLister interface {
	// ListParked returns parked messages of this consumer's queues, the earliest first
	// and at most limit. It claims none: they can only be looked at.
	ListParked(ctx context.Context, limit int) ([]Parked, error)
}

// Queue is a queue to consume from, as kombu's Queue. Empty fields mean what
// Celery makes of a plain name: a direct exchange and a routing key of that name.
type Queue struct {
	Name         string
	Exchange     string // "": the name
	ExchangeType string // Direct, Topic or Fanout; "": Direct
	RoutingKey   string // "": the name, unless an exchange is given
	Alias        string // another name, which operators and routes use for it

	// Broadcast is kombu's Broadcast: a queue of a fanout exchange that is each worker's own,
	// and whose binding goes when the consumer closes.
	Broadcast bool
	// DeliveryMode is that of messages for the queue: 1 transient, 2 persistent; 0: as their
	// publisher has it. Redis keeps both alike.
	DeliveryMode int

	// Bindings are the exchanges that the queue gets its messages from, if there are
	// several. As in kombu, it is not bound to Exchange then.
	Bindings []Source

	// Declaration is what else RabbitMQ is told of it.
	Declaration Declaration
}

// Source is one of the exchanges that a queue is bound to.
type Source struct {
	Exchange     string
	ExchangeType string // Direct or Topic; "": Direct
	RoutingKey   string
	Arguments    map[string]any      // of the binding, as in Declaration
	Declaration  ExchangeDeclaration // of the exchange
}

// Named returns queues with nothing but a name.
func Named(names ...string) []Queue {
	queues := make([]Queue, len(names))
	for i, name := range names {
		queues[i].Name = name
	}
	return queues
}

// Queues is implemented by consumers whose queues may change while they run. What
// was added or cancelled stays so across reconnects. All methods may be called
// while Claim is waiting.
type Queues interface {
	// AddQueue starts consuming a queue; one of that name that is consumed already stays as it is.
	AddQueue(ctx context.Context, q Queue) error
	// CancelQueue stops consuming a queue, given its name or alias. What has been
	// claimed from it is not affected. A queue that is not consumed is no error.
	CancelQueue(ctx context.Context, name string) error
	// Queues returns the queues consumed now, in the order they were given.
	Queues() []Queue
}

// Mover is implemented by consumers that can move held deliveries elsewhere. Where the broker
// can, each goes in one step, and deliveries whose lease was lost are left alone; elsewhere a
// message is published anew before its delivery is acknowledged, so that it is never lost, and
// may be there twice.
type Mover interface {
	// Forward puts deliveries, just as they are, at the end of another queue, in order.
	Forward(ctx context.Context, queue string, deliveries ...Delivery) error
	// Bury puts deliveries among the dead letters.
	Bury(ctx context.Context, letters ...DeadLetter) error
}

// Concluders is implemented by consumers that can publish, and do so in one step with an
// acknowledgement.
type Concluders interface {
	// Concluder returns what concludes this consumer's deliveries with what p would publish;
	// nil if it cannot, because p publishes elsewhere for one.
	Concluder(p Publisher) Concluder
}

// Concluder publishes what follows from deliveries, and acknowledges them.
type Concluder interface {
	// Conclude does both in one step for each delivery, in order, all in one round trip. Nothing
	// is published of deliveries whose lease had been lost; lost names them as in
	// [Consumer.Ack]. So it may be repeated after a failure. With a *RefusedError nothing
	// was done.
	Conclude(ctx context.Context, conclusions ...Conclusion) (lost []string, err error)
}

// Conclusion is a delivery that is done, and what follows from it.
type Conclusion struct {
	Tag     string
	Publish []Publication
}

// Starter is implemented by consumers that tell what a dead worker was running from
// what it merely held.
type Starter interface {
	// Started notes that messages with Redeliveries are about to be run, before they
	// are. Of what a dead worker held, a message that was never redelivered counts one
	// redelivery; another one counts one more only if it had been started. So the
	// neighbours of a message that kills its workers are not taken for its like.
	Started(ctx context.Context, tags ...string) error
}

// DeadLetter is a delivery that nobody shall try again unless an operator says so.
type DeadLetter struct {
	Delivery
	Reason string // for operators
	At     time.Time
}
