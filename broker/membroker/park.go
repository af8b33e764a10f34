package membroker

import (
	"context"
	"slices"
	"time"

	"github.com/apium/apium/broker"
)

// unparkAfter is how long after its time a parked message goes back to its queue.
const unparkAfter = time.Second

type parked struct {
	list    string
	message *message
	due     time.Time
	task    string
}

// Park implements [broker.Parker].
func (c *consumer) Park(ctx context.Context, deliveries ...broker.Parked) (lost []string, err error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	for _, p := range deliveries {
		l := c.b.leases[p.Tag]
		if l == nil {
			lost = append(lost, p.Tag)
			continue
		}
		delete(c.b.leases, p.Tag)
		c.b.parked = append(c.b.parked, parked{list: l.list, message: l.message, due: p.Due, task: p.TaskID})
	}
	slices.SortStableFunc(c.b.parked, func(x, y parked) int { return x.due.Compare(y.due) })
	c.b.notify() // a claim that waits has a new time to wake
	return lost, nil
}

// Due implements [broker.Parker].
func (c *consumer) Due(ctx context.Context, until time.Time, limit int) ([]broker.Delivery, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	return c.unparkIf(limit, func(p parked) bool { return p.due.Before(until) }), nil
}

// Recall implements [broker.Recaller].
func (c *consumer) Recall(ctx context.Context, taskIDs ...string) ([]broker.Delivery, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.expire()
	return c.unparkIf(len(c.b.parked), func(p parked) bool { return p.task != "" && slices.Contains(taskIDs, p.task) }), nil
}

// unparkIf claims parked messages of the queues that are consumed.
func (c *consumer) unparkIf(limit int, wanted func(parked) bool) (ds []broker.Delivery) {
	c.b.parked = slices.DeleteFunc(c.b.parked, func(p parked) bool {
		i := slices.IndexFunc(c.sources, func(s source) bool { return s.list == p.list })
		if i < 0 || len(ds) >= limit || !wanted(p) {
			return false
		}
		ds = append(ds, c.b.lease(c.sources[i], p.message))
		return true
	})
	return ds
}

// unpark gives back what nobody has claimed in time, the latest first, and returns
// the time until the next is overdue (0: none).
func (b *Broker) unpark() time.Duration {
	now := time.Now()
	n := 0
	for n < len(b.parked) && !b.parked[n].due.Add(unparkAfter).After(now) {
		n++
	}
	for _, p := range slices.Backward(b.parked[:n]) {
		b.put(p.list, broker.Front, p.message)
	}
	b.parked = b.parked[n:]
	if len(b.parked) == 0 {
		return 0
	}
	return b.parked[0].due.Add(unparkAfter).Sub(now)
}

// ListParked implements [broker.ParkedLister].
func (c *consumer) ListParked(ctx context.Context, limit int) ([]broker.Parked, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	var list []broker.Parked
	for _, p := range c.b.parked { // the earliest first
		i := slices.IndexFunc(c.sources, func(s source) bool { return s.list == p.list })
		if i >= 0 && len(list) < limit {
			list = append(list, broker.Parked{Delivery: broker.Delivery{Queue: c.sources[i].Name, Content: p.message.content()}, Due: p.due})
		}
	}
	return list, nil
}
