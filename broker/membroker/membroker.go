// Package membroker is a broker in memory, for tests. It keeps messages as they are, in no
// transport's form. It waits on channels and
// timers only, so that it works inside a testing/synctest bubble.
package membroker

import (
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

	mu        sync.Mutex // nobody waits while holding it
	queues    map[string]*queue
	leases    map[string]*lease
	parked    []parked            // the next to be due first
	buried    []broker.DeadLetter // the oldest first
	bindings  map[string][]broker.Binding
	listeners []*listener
	tags      int
	changed   chan struct{} // closed when there may be something new to claim
}

// queue holds messages by priority step, the next to be served first.
type queue [len(steps)][]*message

// message is a message in a queue, or on its way. It is not changed any more.
type message struct {
	protocol.Message
	info   protocol.Info
	deaths int // how often a worker died that held it
}

func (m *message) content() broker.Content { return broker.Deliver(&m.Message, m.info) }

func (m *message) step() int { return step(m.Properties.Priority) }

type lease struct {
	tag     string
	message *message
	list    string // the queue the message goes back to
	until   time.Time
	started bool
}

// Publisher returns a publisher to all queues.
func (b *Broker) Publisher() broker.Publisher { return &publisher{b: b} }

// Broadcaster returns a broadcaster to all listeners.
func (b *Broker) Broadcaster() broker.Broadcaster { return &publisher{b: b} }

// Consumer returns a consumer of the named queues, round robin.
func (b *Broker) Consumer(queues ...string) broker.Consumer {
	return b.ConsumerOf(broker.Named(queues...)...)
}

// ConsumerOf returns a consumer of queues, round robin.
func (b *Broker) ConsumerOf(queues ...broker.Queue) broker.Consumer {
	c := &consumer{b: b, closed: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range queues {
		c.add(q)
	}
	return c
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

// Parked returns the number of messages that are parked.
func (b *Broker) Parked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.parked)
}

// DeadLetters returns what was buried, the oldest first.
func (b *Broker) DeadLetters() []broker.DeadLetter {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.buried)
}

// Expire ends a lease now, as if its worker had died: the message goes back, to be
// served next.
func (b *Broker) Expire(tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bereave(tag)
}

// queue returns a queue, which exists by being named. b.mu is held, here and below.
func (b *Broker) queue(name string) *queue {
	if b.queues == nil {
		b.queues = map[string]*queue{}
		b.leases = map[string]*lease{}
		b.bindings = map[string][]broker.Binding{}
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

// bereave gives back the message of a worker that died.
func (b *Broker) bereave(tag string) {
	l := b.leases[tag]
	if l == nil {
		return
	}
	if l.started || l.message.deaths == 0 {
		died := *l.message
		died.deaths++
		l.message = &died
	}
	b.giveBack(tag, broker.Front)
}

// recount has a message keep the redeliveries that it is given back with.
func (b *Broker) recount(d broker.Delivery) {
	if l := b.leases[d.Tag]; l != nil && l.message.deaths != d.Redeliveries {
		counted := *l.message
		counted.deaths = d.Redeliveries
		l.message = &counted
	}
}

func (b *Broker) giveBack(tag string, place broker.Place) {
	if l := b.leases[tag]; l != nil {
		delete(b.leases, tag)
		marked := *l.message
		marked.info.Redelivered = true
		b.put(l.list, place, &marked)
	}
}

// put puts a message into a queue.
func (b *Broker) put(name string, place broker.Place, m *message) {
	list := &b.queue(name)[m.step()]
	if place != broker.Back {
		*list = slices.Insert(*list, 0, m)
	} else {
		*list = append(*list, m)
	}
	b.notify()
}

// settle ends a lease for good and tells whether there was one.
func (b *Broker) settle(tag string) (held bool) {
	_, held = b.leases[tag]
	delete(b.leases, tag)
	return held
}

// claim takes up to limit messages in kombu's order. Without any, it returns
// what to wait for, and how long until a message goes back by itself (0: never).
func (b *Broker) claim(c *consumer, limit int, without func(queue string) bool) (ds []broker.Delivery, changed chan struct{}, lapse time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lapse = b.expire()
	for len(ds) < limit {
		d, ok := b.take(c, without)
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

func (b *Broker) take(c *consumer, without func(queue string) bool) (broker.Delivery, bool) {
	for step := range steps {
		for i, s := range c.cycle {
			list := &b.queue(s.list)[step]
			if len(*list) == 0 || without != nil && without(s.Name) {
				continue
			}
			d := b.lease(s, (*list)[0])
			*list = (*list)[1:]
			c.cycle = append(slices.Delete(c.cycle, i, i+1), s)
			return d, true
		}
	}
	return broker.Delivery{}, false
}

func (b *Broker) lease(s source, m *message) broker.Delivery {
	b.tags++
	tag := fmt.Sprint("mem:", b.tags)
	b.leases[tag] = &lease{tag: tag, message: m, list: s.list, until: time.Now().Add(b.VisibilityTimeout)}
	return broker.Delivery{Tag: tag, Queue: s.Name, Content: m.content(), Claimed: time.Now(), Redeliveries: m.deaths}
}

// expire gives back what has not been renewed in time, the newest first, and what
// was parked and is overdue. It returns the time until it has more to do.
func (b *Broker) expire() (next time.Duration) {
	next = b.unpark()
	if b.VisibilityTimeout == 0 {
		return next
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
		b.bereave(l.tag)
	}
	return next
}
