package rabbitmemory

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// message is one that was published. It does not change; queues have items of it.
type message struct {
	exchange, key string
	props         properties
	body          []byte
}

// item is a message in a queue.
type item struct {
	*message
	seq         uint64 // its place
	expires     time.Time
	redelivered bool
	returns     int64 // how often it went back to a quorum queue
}

// queue is one queue. All is guarded by Server.mu.
type queue struct {
	s                   *Server
	name                string
	durable, autoDelete bool
	owner               *connection // nil: it is nobody's alone
	args                table
	quorum              bool
	gone                bool

	last      uint64  // the place of who came last
	ready     []*item // in the order of their places
	returned  []*item // to a quorum queue, in the order in which they were; they come first
	consumers []*consumer
	consumed  bool // it had a consumer

	expiry  *time.Timer // of the messages that come next
	disuse  *time.Timer // of the queue; nil: it stays
	timeout time.Duration
}

// consumer is one of a queue.
type consumer struct {
	queue   *queue
	channel *channel
	tag     string
	noAck   bool
	most    int // how many it may hold; 0: any number
	holds   int
}

func (c *consumer) free() bool { return c.most == 0 || c.holds < c.most }

// use has a queue that expires stay for another while.
func (q *queue) use() {
	q.s.stop(&q.disuse)
	if q.timeout > 0 && len(q.consumers) == 0 {
		q.disuse = q.s.after(q.timeout, func() { q.s.remove(q) })
	}
}

// put adds a message at the end.
func (q *queue) put(m *message) {
	q.last++
	it := &item{message: m, seq: q.last}
	ttl, limited := q.args.number("x-message-ttl")
	if e := m.props[expirationAt]; e != nil {
		if own, err := strconv.ParseInt(string(e[1:]), 10, 64); err == nil && (!limited || own < ttl) {
			ttl, limited = own, true
		}
	}
	if limited {
		it.expires = time.Now().Add(time.Duration(ttl) * time.Millisecond)
	}
	q.ready = append(q.ready, it)
	q.serve() // who waits gets it, even if it expires at once
	q.expire()
}

// putBack gives messages back: to their places, or, where it is a quorum queue, to its end; those that a channel held that has ended, in front
// of all that nobody had.
func (q *queue) putBack(items []*item, ended bool) {
	for _, it := range items {
		it.redelivered = true
		if q.quorum {
			it.returns++
			if ended {
				q.returned = append(q.returned, it)
			} else {
				q.last++
				it.seq = q.last
				q.ready = append(q.ready, it)
			}
			continue
		}
		at, _ := slices.BinarySearchFunc(q.ready, it, func(a, b *item) int { return cmp.Compare(a.seq, b.seq) })
		q.ready = slices.Insert(q.ready, at, it)
	}
	q.expire()
	q.serve()
	q.expire()
}

// next is from where the next message comes; nil: there is none.
func (q *queue) next() *[]*item {
	switch {
	case len(q.returned) > 0:
		return &q.returned
	case len(q.ready) > 0:
		return &q.ready
	}
	return nil
}

func (q *queue) take() *item {
	from := q.next()
	if from == nil {
		return nil
	}
	it := (*from)[0]
	*from = (*from)[1:]
	return it
}

func (q *queue) len() int { return len(q.ready) + len(q.returned) }

// serve hands out messages to consumers, in turn.
func (q *queue) serve() {
	for !q.gone && q.next() != nil {
		i := slices.IndexFunc(q.consumers, (*consumer).free)
		if i < 0 {
			return
		}
		c := q.consumers[i]
		q.consumers = append(slices.Delete(q.consumers, i, i+1), c)
		c.channel.deliver(c, q.take())
	}
}

// expire makes dead letters of what has lived for too long, as far as it comes next.
func (q *queue) expire() {
	q.s.stop(&q.expiry)
	for !q.gone {
		from := q.next()
		if from == nil || (*from)[0].expires.IsZero() {
			return
		}
		left := time.Until((*from)[0].expires)
		if left > 0 {
			q.expiry = q.s.after(left, q.expire)
			return
		}
		q.bury(q.take(), "expired")
	}
}

// bury publishes a message where the queue's dead letters go.
func (q *queue) bury(it *item, reason string) {
	exchange := q.args.raw("x-dead-letter-exchange")
	if exchange == nil {
		return
	}
	dead := *it.message
	dead.exchange = q.args.text("x-dead-letter-exchange")
	if q.args.raw("x-dead-letter-routing-key") != nil {
		dead.key = q.args.text("x-dead-letter-routing-key")
	}
	if reason == "expired" {
		dead.props[expirationAt] = nil
	}
	headers := dead.props.headers()
	before := deaths(headers)
	death := table{
		{"count", number(1)}, {"reason", text(reason)}, {"queue", text(q.name)}, {"exchange", text(it.exchange)}, {"routing-keys", list(text(it.key))},
	}
	all := [][]byte{tableValue(death)}
	for _, d := range before {
		if d.text("queue") == q.name && d.text("reason") == reason {
			n, _ := d.number("count")
			all[0] = tableValue(death.with("count", number(n+1)))
			continue
		}
		all = append(all, tableValue(d))
	}
	headers = headers.with("x-death", list(all...))
	if headers.raw("x-first-death-queue") == nil {
		headers = headers.with("x-first-death-queue", text(q.name)).with("x-first-death-reason", text(reason)).with("x-first-death-exchange", text(it.exchange))
	}
	dead.props.setHeaders(headers)
	to := q.s.exchanges[dead.exchange]
	if to == nil {
		return
	}
	for _, target := range q.s.route(to, dead.key) {
		if reason == "rejected" || !inCircle(target, q, before) {
			target.put(&dead)
		}
	}
}

// inCircle tells whether a message would come back to a queue that it has died in before, without anybody having rejected it.
func inCircle(target, from *queue, before []table) bool {
	if target == from {
		return true
	}
	for _, d := range before {
		if d.text("reason") == "rejected" {
			return false
		}
		if d.text("queue") == target.name {
			return true
		}
	}
	return false
}

// deaths reads the header with them, the last one first.
func deaths(headers table) (all []table) {
	raw := headers.raw("x-death")
	if len(raw) == 0 || raw[0] != 'A' {
		return nil
	}
	a := arguments{raw[1:]}
	for values := (arguments{a.longText()}); len(values.left) > 0; {
		if values.octet() != 'F' {
			return all
		}
		all = append(all, values.table())
	}
	return all
}

// cancel ends a consumer.
func (q *queue) cancel(c *consumer) {
	i := slices.Index(q.consumers, c)
	if i < 0 {
		return
	}
	q.consumers = slices.Delete(q.consumers, i, i+1)
	if q.use(); q.autoDelete && len(q.consumers) == 0 {
		q.s.remove(q)
	}
}

// lost takes back what a channel held that has ended, and ends its consumers.
func (q *queue) lost(ch *channel) {
	var back []*item
	ch.unacked = slices.DeleteFunc(ch.unacked, func(u *unacked) bool {
		if u.queue == q {
			back = append(back, u.item)
		}
		return u.queue == q
	})
	if q.gone {
		return
	}
	for _, c := range slices.Clone(q.consumers) {
		if c.channel == ch {
			q.consumers = slices.DeleteFunc(q.consumers, func(other *consumer) bool { return other == c })
		}
	}
	q.putBack(back, true)
	if q.use(); q.autoDelete && q.consumed && len(q.consumers) == 0 {
		q.s.remove(q)
	}
}
