package amqpbroker

import (
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
)

// leftover is a queue for notes that a lost link has left behind. Mostly there is nothing in it, which says as much as that it is not there: then it is
// deleted, as soon as the broker knows that the link is lost. A note that has gone back stays, as its copy may come yet, and expires with its queue. Without that, a
// network that comes and goes would leave a queue each time, for six hours.
type leftover struct {
	queue string
	next  time.Time     // when it is tried
	pause time.Duration // until it is tried again
}

// longestLeft is the longest pause: then the note is not looked for any more.
const longestLeft = time.Hour

// leaves notes the queues that a link leaves behind which is lost. c.mu is held.
func (c *Consumer) leaves(l *link) {
	leave := func(queue string) {
		c.left = append(c.left, leftover{queue, time.Now().Add(c.cfg.look), c.cfg.look})
	}
	for _, s := range c.sources.all {
		if h := s.holding; h != nil && h.link == l {
			leave(h.notes())
		}
	}
	if c.parking != nil && c.parking.link == l {
		leave(c.parking.queue)
		c.parking = nil
	}
}

// dropLeft deletes those left behind that it is time for, or all that can be.
func (c *Consumer) dropLeft(all bool) {
	c.mu.Lock()
	l := c.link
	if l == nil {
		c.mu.Unlock()
		return
	}
	var due, later []leftover
	for _, q := range c.left {
		if all || !q.next.After(time.Now()) {
			due = append(due, q)
		} else {
			later = append(later, q)
		}
	}
	c.left = later
	c.mu.Unlock()
	for _, q := range due {
		err := l.conn.Aside(func(ch *amqp.Channel) error { // nothing is published on it, and so it is not blocked
			_, err := ch.QueueDelete(q.queue, true, true, false)
			return err
		})
		if err == nil || rabbitconn.Code(err) == amqp.NotFound {
			continue
		}
		if q.pause *= 2; q.pause <= longestLeft {
			q.next = time.Now().Add(q.pause)
			c.mu.Lock()
			c.left = append(c.left, q)
			c.mu.Unlock()
		}
	}
}

// dropLeftSoon has those deleted that it is time for. Who tends the link does not wait for it.
func (c *Consumer) dropLeftSoon() {
	c.mu.Lock()
	some := len(c.left) > 0
	c.mu.Unlock()
	if some {
		c.returning.Go(func() { c.dropLeft(false) })
	}
}
