package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/apium/apium/broker"
)

// source is a queue that is consumed.
type source struct {
	broker.Queue
	list  string   // the queue that is read in fact: a private one if the exchange is a fanout
	lists []string // its keys, by step
	tail  string   // end of the records of its messages

	used   atomic.Uint32      // the steps that have delivered messages, by bit
	cancel context.CancelFunc // of a fanout: ends the subscription
}

// layout is what a consumer consumes. It is replaced as a whole and never changed.
type layout struct {
	sources []*source // in the order given
	cycle   []*source // in the order of kombu's queue_order_strategy, before any message
	private []string  // keys of the lists of fanout queues and their inboxes, cancelled ones included: what is held may go back there
}

func (c *Consumer) newLayout(sources []*source, private []string) *layout {
	cycle := slices.Clone(sources)
	if c.cfg.QueueOrderStrategy == Sorted {
		slices.SortFunc(cycle, func(a, b *source) int { return strings.Compare(a.Name, b.Name) })
	}
	return &layout{sources: sources, cycle: cycle, private: private}
}

func (c *Consumer) newSource(q broker.Queue) (*source, error) {
	s := &source{Queue: q, list: q.Name}
	if q.ExchangeType == broker.Fanout {
		s.list = c.keys.private(c.id, q.Name)
	}
	s.lists = c.keys.lists(s.list)
	var err error
	s.tail, err = entryTail(s.list)
	return s, err
}

// listOf returns the name of the queue whose lists hold what is claimed from a queue.
func (c *Consumer) listOf(queue string) string {
	private := c.keys.private(c.id, queue)
	if slices.Contains(c.layout.Load().private, c.keys.list(private, 0)) {
		return private
	}
	return queue
}

// queueOf returns the name of the queue that was claimed from lists of this name.
func (c *Consumer) queueOf(list string) string {
	return strings.TrimPrefix(list, c.keys.private(c.id, ""))
}

// AddQueue starts consuming a queue. It fails if the queue cannot be declared now.
func (c *Consumer) AddQueue(ctx context.Context, q broker.Queue) error {
	if err := validQueue(q); err != nil {
		return fmt.Errorf("redisbroker: %w", err)
	}
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	if slices.ContainsFunc(c.Queues(), func(other broker.Queue) bool { return other.Name == q.Name }) {
		return nil
	}
	if err := c.add(ctx, q); err != nil {
		return fmt.Errorf("redisbroker: %w", closedError(err))
	}
	put(c.stray) // the keeper registers anew
	return nil
}

// add declares queues and lets Claim know of them. c.changing is held.
func (c *Consumer) add(ctx context.Context, queues ...broker.Queue) error {
	old := c.layout.Load()
	sources := slices.Clone(old.sources)
	for _, q := range queues {
		s, err := c.newSource(q)
		if err != nil {
			return err
		}
		if err := bind(ctx, c.pipe, &c.keys, "SADD", q); err != nil {
			return fmt.Errorf("declare queue %q: %w", q.Name, err)
		}
		sources = append(sources, s)
	}
	c.change(sources)
	for _, s := range sources[len(old.sources):] {
		if s.ExchangeType == broker.Fanout {
			c.hear(s)
		}
	}
	return nil
}

// change puts another layout into force. c.changing is held.
func (c *Consumer) change(sources []*source) {
	private := c.layout.Load().private
	for _, s := range sources {
		if s.ExchangeType == broker.Fanout && !slices.Contains(private, s.lists[0]) {
			private = slices.Concat(private, s.lists)
			for _, list := range s.lists {
				private = append(private, c.keys.inbox(list))
			}
		}
	}
	c.layout.Store(c.newLayout(sources, private))
	c.layOutWaiters(sources)
	c.waits.report()
}

// layOutWaiters starts the waiters that are missing, and retires those that are too many.
func (c *Consumer) layOutWaiters(sources []*source) {
	var lists []string
	for _, s := range sources {
		lists = append(lists, s.lists...)
	}
	for _, w := range c.waits.layOut(c.ctx, lists, waitLists(sources, c.cfg.waiters())) {
		c.wg.Go(func() { c.wait(w) })
	}
}

// waitLists returns the lists to wait on, at most limit: those of the queues' first step,
// and those of other steps that have delivered messages, as most priorities are never
// used. The others are looked at every second by an idle Claim.
func waitLists(sources []*source, limit int) []string {
	var first, others []string
	for _, s := range sources {
		first = append(first, s.lists[0])
		for step := 1; step < len(s.lists); step++ {
			if s.used.Load()&(1<<step) != 0 {
				others = append(others, s.lists[step])
			}
		}
	}
	all := slices.Concat(first, others)
	return all[:min(len(all), limit)]
}

// delivered notes that a message came from one of a queue's lists, and tells whether that
// is the first.
func (s *source) delivered(step int) bool {
	bit := uint32(1) << step
	return step > 0 && s.used.Or(bit)&bit == 0
}

// CancelQueue stops consuming a queue. What a claim that is under way takes from it
// is still delivered; what others broadcast to a fanout queue from now on is not.
func (c *Consumer) CancelQueue(ctx context.Context, name string) error {
	ctx, cancel := c.whileOpen(ctx)
	defer cancel()
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	sources := slices.Clone(c.layout.Load().sources)
	i := slices.IndexFunc(sources, func(s *source) bool { return s.Name == name || s.Alias != "" && s.Alias == name })
	if i < 0 {
		return nil
	}
	gone := sources[i]
	c.change(slices.Delete(sources, i, i+1))
	put(c.stray) // the keeper registers anew
	if gone.cancel == nil {
		return nil
	}
	gone.cancel()
	return c.unbind(ctx, gone.Queue)
}

// Queues returns the queues consumed now, in the order they were given.
func (c *Consumer) Queues() []broker.Queue {
	var queues []broker.Queue
	for _, s := range c.layout.Load().sources {
		queues = append(queues, s.Queue)
	}
	return queues
}

func validQueue(q broker.Queue) error {
	switch {
	case q.Name == "":
		return errors.New("queue without a name")
	case !slices.Contains([]string{"", broker.Direct, broker.Topic, broker.Fanout}, q.ExchangeType):
		return fmt.Errorf("queue %q: exchange type %q is not one of direct, topic, fanout", q.Name, q.ExchangeType)
	}
	for _, s := range q.Bindings {
		if !slices.Contains([]string{"", broker.Direct, broker.Topic}, s.ExchangeType) {
			return fmt.Errorf("queue %q: binding to exchange %q: type %q is not one of direct, topic", q.Name, s.Exchange, s.ExchangeType)
		}
	}
	return nil
}
