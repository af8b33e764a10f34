// Package membroker is a broker in memory, for tests. It waits on channels and
// timers only, so that it works inside a testing/synctest bubble.
package membroker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// steps are kombu's priority steps.
var steps = [...]int{0, 3, 6, 9}

// Broker is a set of queues. The zero value is ready for use.
type Broker struct {
	// VisibilityTimeout is the age at which a lease ends that nobody renewed; 0: never.
	VisibilityTimeout time.Duration

	mu      sync.Mutex // nobody waits while holding it
	queues  map[string]*queue
	leases  map[string]*lease
	tags    int
	changed chan struct{} // closed when messages are put back or added
}

// queue holds messages by priority step, the next to be served first.
type queue [len(steps)][][]byte

type lease struct {
	broker.Delivery
	step  int
	until time.Time
}

// Publisher returns a publisher to all queues.
func (b *Broker) Publisher() broker.Publisher { return &publisher{b: b} }

// Consumer returns a consumer of the named queues, round robin.
func (b *Broker) Consumer(queues ...string) broker.Consumer {
	return &consumer{b: b, cycle: slices.Clone(queues), closed: make(chan struct{})}
}

// Len returns the number of messages waiting in a queue.
func (b *Broker) Len(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, list := range b.queue(name) {
		n += len(list)
	}
	return n
}

// Leased returns the number of messages claimed and not settled.
func (b *Broker) Leased() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.leases)
}

// Expire ends a lease now: the message goes back, to be served next.
func (b *Broker) Expire(tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveBack(tag, broker.Front)
}

// queue returns a queue, which exists by being named. b.mu is held, here and below.
func (b *Broker) queue(name string) *queue {
	if b.queues == nil {
		b.queues = map[string]*queue{}
		b.leases = map[string]*lease{}
	}
	if b.queues[name] == nil {
		b.queues[name] = new(queue)
	}
	return b.queues[name]
}

func (b *Broker) notify() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *Broker) giveBack(tag string, place broker.Place) {
	l := b.leases[tag]
	if l == nil {
		return
	}
	delete(b.leases, tag)
	raw := l.Raw
	if marked, err := protocol.MarkRedelivered(raw); err == nil {
		raw = marked
	}
	list := &b.queue(l.Queue)[l.step]
	if place == broker.Front {
		*list = slices.Insert(*list, 0, raw)
	} else {
		*list = append(*list, raw)
	}
	b.notify()
}

// claim takes up to limit messages in kombu's order. Without any, it returns
// what to wait for, and how long until the next lease ends (0: never).
func (b *Broker) claim(c *consumer, limit int) (ds []broker.Delivery, changed chan struct{}, lapse time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lapse = b.expire()
	for len(ds) < limit {
		d, ok := b.take(c)
		if !ok {
			break
		}
		ds = append(ds, d)
	}
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return ds, b.changed, lapse
}

func (b *Broker) take(c *consumer) (broker.Delivery, bool) {
	for step := range steps {
		for i, name := range c.cycle {
			list := &b.queue(name)[step]
			if len(*list) == 0 {
				continue
			}
			b.tags++
			l := &lease{step: step, until: time.Now().Add(b.VisibilityTimeout)}
			l.Delivery = broker.Delivery{Tag: fmt.Sprint("mem:", b.tags), Queue: name, Raw: slices.Clone((*list)[0])}
			*list = (*list)[1:]
			b.leases[l.Tag] = l
			c.cycle = append(slices.Delete(c.cycle, i, i+1), name)
			return l.Delivery, true
		}
	}
	return broker.Delivery{}, false
}

// expire gives back what has not been renewed in time, the newest first.
func (b *Broker) expire() (next time.Duration) {
	if b.VisibilityTimeout == 0 {
		return 0
	}
	var old []*lease
	for _, l := range b.leases {
		if left := time.Until(l.until); left <= 0 {
			old = append(old, l)
		} else if next == 0 || left < next {
			next = left
		}
	}
	slices.SortFunc(old, func(x, y *lease) int { return y.until.Compare(x.until) })
	for _, l := range old {
		b.giveBack(l.Tag, broker.Front)
	}
	return next
}

// consumer claims. cycle belongs to the one caller of Claim.
type consumer struct {
	b      *Broker
	cycle  []string
	once   sync.Once
	closed chan struct{}
}

var _ broker.Consumer = (*consumer)(nil)

func (c *consumer) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Claim implements [broker.Consumer].
func (c *consumer) Claim(ctx context.Context, limit int) ([]broker.Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("membroker: claim of %d messages", limit)
	}
	for {
		if c.isClosed() {
			return nil, broker.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ds, changed, lapse := c.b.claim(c, limit)
		if len(ds) > 0 {
			return ds, nil
		}
		if err := c.wait(ctx, changed, lapse); err != nil {
			return nil, err
		}
	}
}

func (c *consumer) wait(ctx context.Context, changed chan struct{}, lapse time.Duration) error {
	var lapsed <-chan time.Time
	if lapse > 0 {
		timer := time.NewTimer(lapse)
		defer timer.Stop()
		lapsed = timer.C
	}
	select {
	case <-changed:
	case <-lapsed:
	case <-c.closed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Ack implements [broker.Consumer].
func (c *consumer) Ack(ctx context.Context, tags ...string) (lost []string, err error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	for _, tag := range tags {
		if c.b.leases[tag] == nil {
			lost = append(lost, tag)
		}
		delete(c.b.leases, tag)
	}
	return lost, nil
}

// Requeue implements [broker.Consumer].
func (c *consumer) Requeue(ctx context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if place == broker.Back {
		for _, d := range deliveries {
			c.b.giveBack(d.Tag, place)
		}
		return nil
	}
	for _, d := range slices.Backward(deliveries) {
		c.b.giveBack(d.Tag, place)
	}
	return nil
}

// Extend implements [broker.Consumer].
func (c *consumer) Extend(ctx context.Context, tags ...string) (lost []string, err error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	for _, tag := range tags {
		if l := c.b.leases[tag]; l != nil {
			l.until = time.Now().Add(c.b.VisibilityTimeout)
		} else {
			lost = append(lost, tag)
		}
	}
	return lost, nil
}

func (c *consumer) usable(ctx context.Context) error {
	if c.isClosed() {
		return broker.ErrClosed
	}
	return ctx.Err()
}

// Close implements [broker.Consumer].
func (c *consumer) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

type publisher struct {
	b      *Broker
	mu     sync.Mutex
	closed bool
}

// Publish implements [broker.Publisher]. Exchanges other than the default one have
// no bindings.
func (p *publisher) Publish(ctx context.Context, messages ...broker.Publication) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return broker.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	priorities := make([]int, len(messages))
	for i, m := range messages {
		if m.Exchange != "" || m.RoutingKey == "" {
			return fmt.Errorf("publish message %d to exchange %q with routing key %q: no queue is bound for it", i+1, m.Exchange, m.RoutingKey)
		}
		msg, err := protocol.DecodeMessage(m.Message)
		if err != nil {
			return fmt.Errorf("publish message %d to queue %q: %w", i+1, m.RoutingKey, err)
		}
		priorities[i] = msg.Properties.Priority
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for i, m := range messages {
		list := &p.b.queue(m.RoutingKey)[step(priorities[i])]
		*list = append(*list, slices.Clone(m.Message))
	}
	p.b.notify()
	return nil
}

// step returns the index of the priority step of a message.
func step(priority int) int {
	at, found := slices.BinarySearch(steps[:], min(max(priority, 0), 9))
	if !found {
		at--
	}
	return at
}

// Close implements [broker.Publisher].
func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
