package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// With one pool that is full, queues of its tasks are left alone, and looked through more and
// more rarely as long as that finds nothing.
func TestClaimPlans(t *testing.T) {
	withRunner(t, func(t *testing.T, b *runnerBench) {
		c := newClaimPlans(b.runner, true)
		goPool, other := b.pool(""), b.pool("other")
		end := make(chan struct{})
		defer close(end)
		now := time.Now()
		if p := c.plan(now, 0); p.limit != 4 || c.looks || p.without != nil {
			t.Errorf("nothing is known: %+v", p)
		}
		for range 200 {
			c.note("go", goPool)
			c.note("other", other)
		}
		if p := c.plan(now, 0); p.limit != 4 || p.without != nil { // half for each: 4 / ½, but no pool wants more than 4
			t.Errorf("all have room: %+v", p)
		}
		for _, id := range []string{"1", "2", "3", "4"} {
			b.push("other", id, true, timeLimits{}, func(context.Context) error { <-end; return nil })
		}
		synctest.Wait()
		for _, ms := range []int{10, 20, 40, 80, 160, 320, 640, 1000, 1000} {
			wait := time.Duration(ms) * time.Millisecond
			p := c.plan(now, 0)
			if !c.looks || p.without != nil || p.limit != lookFor {
				t.Fatalf("no look after %v: %+v", wait, p)
			}
			for range lookFor {
				c.note("other", other)
			}
			if c.plan(now, lookFor); !c.looks {
				t.Fatal("a look ends although there is more")
			}
			if p = c.plan(now, asideMost); c.looks || p.until.Sub(now) != wait || !p.without("other") {
				t.Fatalf("a look goes on although there is no room for more: %+v", p)
			}
			if p = c.plan(now.Add(wait), asideMost); c.looks || !p.until.IsZero() || !p.without("other") {
				t.Fatalf("a look begins although there is no room for more: %+v", p)
			}
			now = now.Add(wait - 1)
			p = c.plan(now, 0)
			if c.looks || p.limit != 4 || !p.without("other") || p.without("go") || p.without("new") || p.until.Sub(now) != 1 {
				t.Fatalf("%v after a look that found nothing: %+v", wait, p)
			}
			now = now.Add(1)
		}
		c.plan(now, 0)
		c.note("other", goPool)
		c.lookedThrough(now)
		if c.plan(now, 0); !c.looks {
			t.Error("no look after one that found something")
		}
		c.chooses = false
		if c.lookedThrough(now); c.plan(now, 0).limit != 0 {
			t.Errorf("claims of all queues although none can be left alone: %+v", c.plan(now, 0))
		}
	})
}

// While a pool has enough to do, what comes from its queue is not claimed one by one for another that is idle.
func TestClaimsForAnIdlePool(t *testing.T) {
	withRunner(t, func(t *testing.T, b *runnerBench) {
		c := newClaimPlans(b.runner, true)
		end := make(chan struct{})
		defer close(end)
		for range 200 {
			c.note("other", b.pool("other"))
		}
		for _, id := range []string{"1", "2", "3"} { // more than half of what it may hold
			b.push("other", id, true, timeLimits{}, func(context.Context) error { <-end; return nil })
		}
		synctest.Wait()
		now := time.Now()
		for range 3 {
			for _, after := range []time.Duration{0, lookSoonest - 1} {
				if p := c.plan(now.Add(after), 0); p.limit != 0 || p.until.Sub(now) != lookSoonest {
					t.Fatalf("after %v: %+v", after, p)
				}
			}
			now = now.Add(lookSoonest)
			if p := c.plan(now, 0); p.limit != 1 || !p.until.IsZero() || p.without != nil {
				t.Fatalf("when it is time: %+v", p)
			}
		}
		c.plan(now, 0)
		c.note("other", b.pool(""))
		if p := c.plan(now, 0); p.limit == 0 || !p.until.IsZero() {
			t.Errorf("when messages come for the idle pool, too: %+v", p)
		}
	})
}

// A queue's tasks are expected as long as one of the last 150 was for the pool.
func TestMixForgets(t *testing.T) {
	t.Parallel()
	m := newMix(2)
	first, second := []bool{true, false}, []bool{false, true}
	if m.expects("q", first) || m.shares(nil) != nil {
		t.Error("something is expected of a queue that nobody has seen")
	}
	m.note("q", 0)
	n := 0
	for ; m.expects("q", first); n++ {
		m.note("q", 1)
	}
	if n < 100 || n > 200 || !m.expects("q", second) {
		t.Errorf("forgotten after %d messages", n)
	}
	m.note("other", 0)
	if s := m.shares(nil); s[0] < 0.49 || s[0] > 0.51 {
		t.Errorf("shares %v", s)
	}
	if s := m.shares(func(queue string) bool { return queue == "q" }); s[0] != 1 {
		t.Errorf("shares without q: %v", s)
	}
}
