package amqpbroker

import (
	"cmp"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// maxPrefetch is the most that AMQP can say.
const maxPrefetch = 65535

// sources are the queues that are consumed, guarded by Consumer.mu.
//
// How many messages the broker hands over ahead is a property of each consumer of a queue, and holds
// from its beginning to its end: that works on every kind of queue and every version. So more are
// asked for by a further consumer of the same queue, and fewer by cancelling one.
type sources struct {
	prefetch int // what each queue's first consumer asks for; 0: nothing is consumed any more
	room     int // for how many messages Claim waits
	most     int // the most of late
	all      []*source
	gone     []*source // those of them that are not consumed any more, until tend has seen to it
}

// source is a queue that is consumed.
type source struct {
	broker.Queue
	name     string // as the broker knows it: a Broadcast's is this consumer's own
	declared *link  // for which link it was declared last
	delayed  bool   // it is bound to native delayed delivery
	warned   bool   // what is wrong with its declaration was said
	locked   bool   // it is another connection's alone, and that was said
	subs     []*subscription
	shrink   bool          // less is asked for than before
	counts   bool          // it counts how often messages go back
	single   bool          // the broker serves one of its consumers alone, here or elsewhere
	holding  *holding      // for copies of its messages; nil, or of an earlier link: there is none
	held     string        // the queue for them, which outlasts links; "": there is none
	heldAs   string        // its type
	timeout  time.Duration // its own consumer_timeout; 0: none

	cancelled bool // the broker has ended its consumers, and that was said; tend's
}

// subscription is a consumer in AMQP's sense.
type subscription struct {
	source  *source
	link    *link
	tag     string
	holding *holding      // what it is a consumer of, if that is no source
	notes   notes         // of which transfers it has the notes, if it is a consumer of these
	queue   string        // of the notes
	ended   chan struct{} // closed when all that it delivered has arrived

	credit      int // how many messages it may have outstanding
	outstanding int // delivered and not settled

	doomed bool // another one of its queue was cancelled by the broker, and so this one is; tend's
}

func (ss *sources) add(q broker.Queue) *source {
	s := &source{Queue: q, name: q.Name}
	s.counts, s.timeout = s.isQuorum(), s.ownTimeout()
	s.single, _ = q.Declaration.Arguments["x-single-active-consumer"].(bool)
	if q.Broadcast {
		s.name = "bcast." + protocol.NewID()
	}
	ss.all = append(ss.all, s)
	return s
}

// find returns the source of a name or alias.
func (ss *sources) find(name string) *source {
	for _, s := range ss.all {
		if s.Name == name || s.Alias == name && name != "" {
			return s
		}
	}
	return nil
}

func (ss *sources) remove(gone *source) {
	ss.all = slices.DeleteFunc(ss.all, func(s *source) bool { return s == gone })
	ss.gone = append(ss.gone, gone)
}

// unsubscribed notes that there is no link any more.
func (ss *sources) unsubscribed() {
	for _, s := range ss.all {
		s.subs = nil
	}
	ss.gone = nil
}

// more asks tend for a further consumer of each queue from which less may come than Claim has room
// for, because what has come is held. c.mu is held.
func (c *Consumer) more() {
	c.sources.most = max(c.sources.most, c.sources.room)
	for _, s := range c.sources.all {
		if len(s.subs) > 0 && !s.single && s.wants(&c.sources) > 0 {
			signal(c.wake)
			return
		}
	}
}

// wants is for how many messages a further consumer is needed.
func (s *source) wants(ss *sources) int {
	if len(s.subs) == 0 {
		return ss.prefetch
	}
	if free := s.free(); ss.prefetch > 0 && 2*free < ss.room {
		return ss.room - free
	}
	return ss.prefetch - s.credit()
}

// credit is how many messages it may have outstanding.
func (s *source) credit() (n int) {
	for _, sub := range s.subs {
		n += sub.credit
	}
	return n
}

// surplus are the consumers that are not needed: without which the others ask for what is to be
// held. Those that were started because much was held go when that is settled.
func (s *source) surplus(ss *sources, idle bool) (surplus []*subscription) {
	switch {
	case s.single && ss.prefetch > 0: // another worker would be served from then on
	case ss.prefetch == 0 || s.shrink:
		s.shrink = false
		left := ss.prefetch
		for _, sub := range s.subs {
			if sub.credit > left {
				surplus = append(surplus, sub)
			} else {
				left -= sub.credit
			}
		}
	case idle && len(s.subs) > 1:
		free, enough := s.free(), max(ss.prefetch, ss.most)
		for _, sub := range slices.SortedFunc(slices.Values(s.subs[1:]), func(a, b *subscription) int { return cmp.Compare(b.free(), a.free()) }) {
			if free-sub.free() >= enough {
				surplus = append(surplus, sub)
				free -= sub.free()
			}
		}
	}
	return surplus
}

// free is how many messages may still come.
func (s *source) free() (n int) {
	for _, sub := range s.subs {
		n += sub.free()
	}
	return n
}

func (s *subscription) free() int { return max(s.credit-s.outstanding, 0) }

// SetPrefetch implements [broker.Prefetcher].
func (c *Consumer) SetPrefetch(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(max(n, 0), maxPrefetch)
	if n == c.sources.prefetch {
		return
	}
	for _, s := range c.sources.all {
		s.shrink = n < c.sources.prefetch
	}
	c.sources.prefetch = n
	signal(c.wake)
}
