package amqpbroker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbittest"
)

// claimed has three messages claimed by a consumer that is given no more, beside another one.
func (s *site) claimed() (c, other *Consumer, ds []broker.Delivery) {
	s.t.Helper()
	c = s.open(limited())
	s.publish("q", "1", "2", "3")
	ds, _ = s.claim(c, 3)
	c.SetPrefetch(0)
	s.await("it is given no more", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.sources.all[0].subs) == 0
	})
	return c, s.open(limited()), ds
}

// halfway has messages given back until all is done but the acknowledgement, and another consumer has the copies. rest does that, too.
func (s *site) halfway() (c, other *Consumer, rest func()) {
	s.t.Helper()
	c, other, ds := s.claimed()
	_, rest = unwritten(c, func() error { return c.Requeue(s.context(), broker.Back, ds...) })
	s.await("the copies come, and nobody knows what they are", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		n := 0
		for _, copies := range other.link.doubted {
			n += len(copies)
		}
		if other.buffer.len() > 0 {
			s.t.Fatal("a copy may be claimed whose message is not acknowledged")
		}
		return n == len(ds)
	})
	return c, other, rest
}

// unwritten has something done until it is to write on the link. rest lets it go on to its end.
func unwritten(c *Consumer, do func() error) (done chan error, rest func()) {
	l := c.link
	l.writing.Lock()
	done = make(chan error, 1)
	go func() { done <- do() }()
	return done, func() {
		l.writing.Unlock()
		<-done
	}
}

// once has each of the messages claimed, and no other.
func (s *site) once(v *rabbittest.VHost, c *Consumer, dropped int) {
	s.t.Helper()
	s.onceOfSome(v, c, dropped, dropped)
}

// onceOfSome is once where it is not known how many copies are to be dropped.
func (s *site) onceOfSome(v *rabbittest.VHost, c *Consumer, least, most int) {
	s.t.Helper()
	ds, ids := s.claim(c, 3)
	if slices.Sort(ids); !slices.Equal(ids, []string{"1", "2", "3"}) {
		s.t.Errorf("claimed %q", ids)
	}
	s.droppedSome(least, most, c)
	s.ack(c, ds...)
	s.await("nothing is left", func() bool { return len(left(s.t, v)) == 0 })
}

// transfers are the queues of transfers that are there.
func transfers(t *testing.T, v *rabbittest.VHost) (names []string) {
	t.Helper()
	for name := range v.Queues(t) {
		if strings.HasPrefix(name, holdPrefix) {
			names = append(names, name)
		}
	}
	return names
}

// A worker that is killed between publishing copies of messages, or parking these, and acknowledging them leaves each of them once.
func TestKilledBeforeAcknowledging(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]func(s *site) (c, other *Consumer, rest func()){
		"copies": (*site).halfway, "parked": (*site).halfParked,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vhost := rabbittest.New(t)
			s := newSite(t, vhost.URL())
			killed, other, rest := half(s)
			dead := make(chan struct{})
			go func() {
				defer close(dead)
				killed.dies()
			}()
			s.await("its connection is lost", func() bool {
				killed.mu.Lock()
				defer killed.mu.Unlock()
				return killed.link == nil
			})
			rest()
			<-dead
			s.once(vhost, other, 3)
		})
	}
}

// Who gets copies has them as soon as their messages are acknowledged, and then nothing is left of the transfer.
func TestGetsCopiesOnceAcknowledged(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	_, other, rest := s.halfway()
	rest()
	s.once(vhost, other, 0)
	if names := transfers(t, vhost); len(names) > 0 {
		t.Errorf("%q are left", names)
	}
}

// Whoever waits for what becomes of a copy ends at once if it is to.
func TestEndsWhileItDoubts(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	s := newSite(t, vhost.URL())
	_, other, rest := s.halfway()
	const patience = time.Minute // half of which it would wait
	ctx, cancel := context.WithTimeout(s.context(), patience)
	defer cancel()
	began := time.Now()
	if err := other.CloseWithin(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took >= patience/2 {
		t.Errorf("it took %v", took)
	}
	rest()
	s.once(vhost, s.open(limited()), 0)
}

// line is the one that there is; nil: there is none.
func (c *Consumer) line() *line {
	if err := c.elsewhere.lines.turn.take(c.ctx); err != nil {
		return nil
	}
	defer c.elsewhere.lines.turn.leave()
	return c.elsewhere.lines.current
}

// underway is the largest number of messages that are published together just now.
func (c *Consumer) underway() (n int) {
	l := c.line()
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, call := range l.calls {
		n = max(n, len(call))
	}
	return n
}

// unconfirmed are the ways in which it does not get known whether the broker has what is on its way, and how much of three it has then, at least.
var unconfirmed = map[string]struct {
	end func(c *Consumer, cancel func())
	has int
}{
	"in time":                   {func(_ *Consumer, cancel func()) { cancel() }, 3},
	"as the connection is lost": {func(c *Consumer, _ func()) { _ = c.line().conn.CloseBy(time.Now()) }, 1},
}

// suspend has a quorum queue confirm nothing until it is resumed.
func suspend(t *testing.T, server *rabbittest.Server, vhost *rabbittest.VHost, queue string) (resume func()) {
	t.Helper()
	leader := fmt.Sprintf(`begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<%q>>, queue, <<%q>>)), {Leader, _} = amqqueue:get_pid(Q), Leader end`, vhost.Name, queue)
	server.Eval(t, "sys:suspend("+leader+")")
	return func() { server.Eval(t, "sys:resume("+leader+")") }
}

// Messages whose copies are not confirmed go back themselves, and the copies are dropped when they come nevertheless.
func TestCopiesThatAreNotConfirmed(t *testing.T) {
	t.Parallel()
	for name, way := range unconfirmed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := rabbittest.Start(t)
			vhost := server.VHost(t)
			s := newSite(t, vhost.URL())
			c, other, ds := s.claimed()
			resume := suspend(t, server, vhost, "q")
			ctx, cancel := context.WithCancel(s.context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- c.Requeue(ctx, broker.Back, ds...) }()
			s.await("the copies are on their way", func() bool { return c.underway() == len(ds) })
			way.end(c, cancel)
			<-done
			resume()
			s.onceOfSome(vhost, other, way.has, 3)
		})
	}
}
