package worker

import (
	"testing"
	"time"
)

// What is on call is what runs in a tenth of a second. After each wrong guess it rests for longer, and a guess that was
// good for a minute makes up for all.
func TestOnCall(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 0)
	o := onCall{from: now}
	run := func(n, size int, took time.Duration) int {
		for range n {
			now = now.Add(took / time.Duration(n))
			o.note(8, size, now)
		}
		return o.n
	}
	if n := run(1000, 500, 100*time.Millisecond); n < 900 || n > 1024 {
		t.Errorf("at 10,000 a second %d are on call", n)
	}
	if run(4, 500, 900*time.Millisecond); o.n < 900 {
		t.Errorf("after a pause of the broker %d are on call", o.n)
	}
	run(100, 500, 10*time.Millisecond)
	if n := run(100, 500, 2*time.Second); n != 0 {
		t.Errorf("at 50 a second %d are on call", n)
	}
	now = now.Add(2 * time.Second)
	if n := run(1000, 1<<20, 100*time.Millisecond); n > 32 {
		t.Errorf("of a megabyte each %d are on call", n)
	}
	run(100, 0, 10*time.Millisecond)
	now = now.Add(2 * time.Second)
	if n := run(4000, 500, 400*time.Millisecond); n < 900 {
		t.Errorf("of small ones again %d are on call", n)
	}
	if n := run(20, 1<<20, 100*time.Millisecond); n > 32 {
		t.Errorf("when messages have become large, %d are on call", n)
	}
	for _, rest := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		o.stalled(now)
		if n := run(1000, 500, rest-100*time.Millisecond); n != 0 {
			t.Errorf("it rests for less than %v", rest)
		}
		now = now.Add(200 * time.Millisecond)
		if n := run(4000, 500, 400*time.Millisecond); n < 500 {
			t.Errorf("after a rest of %v %d are on call", rest, n)
		}
	}
	now = now.Add(2 * onCallRests)
	o.stalled(now)
	if now = now.Add(onCallRest + time.Millisecond); run(4000, 500, 400*time.Millisecond) < 500 {
		t.Error("a guess that was good for long makes up for nothing")
	}
}

// What is on call stays there while slots are stuck for as long as a broker or a result backend may pause. What was accepted
// stays where it cannot go back.
func TestStalledOnCall(t *testing.T) {
	t.Parallel()
	b := newTestBacklog(t, 8, 2)
	b.onCall.wanted, b.onCall.n = true, 1024
	for range 8 {
		b.push(&request{acksLate: true})
	}
	next := &request{}
	if !b.again(next) {
		t.Fatal("a request cannot wait again")
	}
	looks := 0
	for over := true; over; looks++ {
		var surplus, accepted []*request
		if surplus, accepted, over = b.stalled(); len(surplus)+len(accepted) > 0 {
			t.Fatalf("%d are surplus, and %d accepted go back", len(surplus), len(accepted))
		}
	}
	if stuck := time.Duration(looks) * stallLook; stuck < 200*time.Millisecond || stuck > 400*time.Millisecond || b.handed() != 8 {
		t.Errorf("after %v %d are on call", stuck, b.handed())
	}
	if _, _, over := b.stalled(); over {
		t.Error("it is looked for what cannot go back")
	}
	if r, ok := b.take(never); !ok || r != next {
		t.Errorf("take = %v, %v, want what was accepted", r, ok)
	}
	b.onCall.n = 1024
	for range 3 * int(onCallStall/stallLook) {
		b.take(never)
		b.push(&request{acksLate: true})
		if _, _, over := b.stalled(); !over {
			t.Fatal("nothing is looked for any more")
		}
	}
	if b.handed() != 1024 {
		t.Errorf("while slots take requests %d are on call", b.handed())
	}
}
