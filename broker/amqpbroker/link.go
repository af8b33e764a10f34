package amqpbroker

import (
	"strconv"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
)

// link is the channel that is consumed from, from when it was opened until it is lost. Its
// deliveries are numbered by the broker from 1 on, and belong to it: the same number on another
// channel is another message, or none, at which the broker closes that channel. So each is
// named by its link's term and its number.
//
// Fields are guarded by Consumer.mu unless they say otherwise.
type link struct {
	term uint64
	conn *rabbitconn.Connection
	ch   *amqp.Channel

	closes  <-chan *amqp.Error // tells why the channel was closed; tend's
	cancels <-chan string      // which consumers the broker has cancelled; tend's

	lost chan struct{} // closed when it is

	writing sync.Mutex // held from when a delivery is settled until that is written; comes before Consumer.mu

	open    map[uint64]*delivery // what was delivered and is not settled
	oldest  *delivery            // of open, which are a list in the order of numbers
	newest  *delivery
	through uint64                 // all up to this number have been seen
	holds   map[string]*hold       // whose copy has not come yet
	seen    map[uint64]struct{}    // what was seen above that: each consumer's messages come by a way of their own
	doubted map[string][]*delivery // copies by the queues of their transfers, of which it is not known yet whether these have ended
}

func newLink(term uint64, conn *rabbitconn.Connection, ch *amqp.Channel) *link {
	return &link{
		term: term, conn: conn, ch: ch, lost: make(chan struct{}), open: make(map[uint64]*delivery), seen: make(map[uint64]struct{}), holds: make(map[string]*hold),
		doubted: make(map[string][]*delivery),
	}
}

// delivery is a message that a link has delivered.
type delivery struct {
	amqp.Delivery
	link     *link
	sub      *subscription
	buffered bool // it was not claimed yet
	since    time.Time
	counted  bool    // its queue counts how often it goes back
	unparked bool    // it comes back from having been parked
	running  bool    // its task runs
	started  bool    // and is to be known for that, if this worker dies of it
	heirOf   *orphan // it is the same message as one that runs

	redeliveries int    // how often it was redelivered because a worker died
	leaving      bool   // it goes back
	held         string // the hold that it is the copy of; "": none
	notes        string // the queue that may have a note about that, or that of the transfer that it is of; "": none
	hold         *hold  // nil: no copy is on its way

	older, newer *delivery
}

// add notes a delivery.
func (l *link) add(d *delivery) {
	n := d.DeliveryTag
	l.open[n] = d
	place := l.newest
	for place != nil && place.DeliveryTag > n {
		place = place.older
	}
	d.older = place
	if place != nil {
		d.newer, place.newer = place.newer, d
	} else {
		d.newer, l.oldest = l.oldest, d
	}
	if d.newer != nil {
		d.newer.older = d
	} else {
		l.newest = d
	}
	if n != l.through+1 {
		l.seen[n] = struct{}{}
		return
	}
	l.through = n
	for len(l.seen) > 0 {
		if _, ok := l.seen[l.through+1]; !ok {
			break
		}
		l.through++
		delete(l.seen, l.through)
	}
}

// remove forgets a delivery: it is settled.
func (l *link) remove(d *delivery) {
	delete(l.open, d.DeliveryTag)
	if d.older != nil {
		d.older.newer = d.newer
	} else {
		l.oldest = d.newer
	}
	if d.newer != nil {
		d.newer.older = d.older
	} else {
		l.newest = d.older
	}
	d.older, d.newer = nil, nil
	d.sub.outstanding--
}

// settledThrough is up to which number everything is settled, so that one acknowledgement may
// stand for all: nothing is open, and nothing is on its way here.
func (l *link) settledThrough() uint64 {
	if l.oldest != nil {
		return min(l.oldest.DeliveryTag-1, l.through)
	}
	return l.through
}

// tag names a delivery: term:number.
func (d *delivery) tag() string {
	var text [41]byte
	b := strconv.AppendUint(text[:0], d.link.term, 10)
	b = append(b, ':')
	return string(strconv.AppendUint(b, d.DeliveryTag, 10))
}

func parseTag(tag string) (term, number uint64, ok bool) {
	before, after, found := strings.Cut(tag, ":")
	term, err := strconv.ParseUint(before, 10, 64)
	if !found || err != nil {
		return 0, 0, false
	}
	number, err = strconv.ParseUint(after, 10, 64)
	return term, number, err == nil
}
