package amqpbroker

import (
	"fmt"
	"hash/maphash"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/logline"
)

// orphan is a delivery whose task runs here, or has run since, and whose link is lost. The broker
// has the message back, and hands it out again: if it comes here, it is the orphan's heir, which is
// not claimed but settled as its task is. If it comes to another worker, the task runs twice.
// A copy that is held in place of a delivery (hold.go) is its heir, too.
type orphan struct {
	tag  string
	id   identity
	was  *delivery // its message
	heir *delivery // of the present link; nil: the message has not come yet
	done bool      // the task has ended, and the message is to be acknowledged when it comes
}

// identity is what tells a message from others, as far as one can know. As many messages of one
// identity are taken for heirs as there are orphans, and each is the only one that its orphan's
// acknowledgement is for: so it is no matter if somebody has sent the same twice.
type identity struct {
	queue, correlation, id, retries string
	size                            int
	body                            uint64
}

var seed = maphash.MakeSeed()

func identityOf(d *delivery) identity {
	return identity{
		queue: d.sub.source.name, correlation: d.CorrelationId, id: text(d.Headers, "id"), retries: text(d.Headers, "retries"),
		size: len(d.Body), body: maphash.Bytes(seed, d.Body),
	}
}

func text(headers amqp.Table, name string) string {
	if value, ok := headers[name]; ok {
		return fmt.Sprint(value)
	}
	return ""
}

// doneMost is for how many tasks that have ended it is remembered that their message may come.
const doneMost = 10000

// orphans are guarded by Consumer.mu.
type orphans struct {
	byTag map[string]*orphan // whose task runs
	byID  map[identity][]*orphan
	done  []*orphan // the oldest first
	void  []string  // holds whose message was not acknowledged when their link was lost; likewise
}

func (os *orphans) any() bool { return len(os.byID) > 0 }

func (os *orphans) find(tag string) *orphan { return os.byTag[tag] }

// adopt makes orphans of what runs and came by a link that is lost.
func (os *orphans) adopt(l *link) {
	for d := l.oldest; d != nil; d = d.newer {
		switch {
		case d.heirOf != nil:
			d.heirOf.heir = nil // it will come once more
		case d.running:
			o := os.add(d)
			os.byTag[o.tag] = o
		}
	}
	for id := range l.holds {
		os.void = append(os.void, id)
	}
	os.void = os.void[max(0, len(os.void)-doneMost):]
}

func (os *orphans) add(d *delivery) *orphan {
	if os.byTag == nil {
		os.byTag, os.byID = make(map[string]*orphan), make(map[identity][]*orphan)
	}
	o := &orphan{tag: d.tag(), id: identityOf(d), was: d}
	os.byID[o.id] = append(os.byID[o.id], o)
	return o
}

// inherit has a copy take the place of a delivery.
func (os *orphans) inherit(from, heir *delivery) {
	o := from.heirOf
	if o == nil {
		o = os.add(from)
		os.byTag[o.tag] = o
	}
	from.heirOf, o.heir, heir.heirOf, o.was = nil, heir, o, heir
}

// match finds the orphan whose message has come again, and makes d its heir.
func (os *orphans) match(d *delivery) *orphan {
	for _, o := range os.byID[identityOf(d)] {
		if o.heir == nil {
			o.heir, d.heirOf = d, o
			return o
		}
	}
	return nil
}

// settle notes what becomes of an orphan. An heir is to be settled in the same way. Without one, what
// is to go back has gone.
func (os *orphans) settle(tag string, ack bool) (known bool, heir *delivery) {
	o := os.byTag[tag]
	if o == nil {
		return false, nil
	}
	delete(os.byTag, tag)
	if o.heir != nil || !ack {
		os.forget(o)
		return true, o.heir
	}
	os.end(o)
	return true, nil
}

// end remembers for a while that the message of an orphan is to be acknowledged.
func (os *orphans) end(o *orphan) {
	o.done = true
	if os.done = append(os.done, o); len(os.done) > doneMost {
		os.forget(os.done[0])
	}
}

func (os *orphans) forget(o *orphan) {
	same := func(other *orphan) bool { return other == o }
	if o.done {
		os.done = slices.DeleteFunc(os.done, same)
	}
	if left := slices.DeleteFunc(os.byID[o.id], same); len(left) > 0 {
		os.byID[o.id] = left
	} else {
		delete(os.byID, o.id)
	}
}

// inherited sees to a message that has come again while its task runs here, or has run.
func (c *Consumer) inherited(o *orphan, d *delivery) {
	c.log.Info(fmt.Sprintf("Task %s[%s] was delivered again after its connection was lost: it runs here already", text(d.Headers, "task"), d.CorrelationId),
		logline.EventKey, "Delivered again: it runs here already", "task_id", d.CorrelationId)
	l := c.lockLink()
	if l != nil {
		defer l.writing.Unlock()
	}
	if !o.done || d.link != l || o.heir != d {
		c.mu.Unlock()
		return // it is settled with its task, or will come again
	}
	c.orphans.forget(o)
	l.remove(d)
	c.mu.Unlock()
	c.write(l, []*delivery{d}, true)
}

// Begin implements [broker.Joiner].
func (c *Consumer) Begin(tag string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.find(tag); d != nil {
		d.running = true
		return true
	}
	o := c.orphans.find(tag)
	if o != nil && o.heir == nil && !o.was.running {
		c.orphans.forget(o) // a copy was held in place of it, and is lost
		delete(c.orphans.byTag, tag)
		return false
	}
	if o != nil {
		o.was.running = true
	}
	return o != nil
}

// lose notes that a link is lost, and all that it had delivered with it.
func (c *Consumer) lose(l *link) {
	close(l.lost)
	c.mu.Lock()
	if c.link == l {
		c.link = nil
		c.buffer.clear()
		c.orphans.adopt(l)
		c.leaves(l)
		c.sources.unsubscribed()
		c.term.Add(1)
	}
	c.mu.Unlock()
	signal(c.lapsed)
}
