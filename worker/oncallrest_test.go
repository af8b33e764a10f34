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
	if n := run(50, 500, time.Second); n != 0 {
		t.Errorf("at 50 a second %d are on call", n)
	}
	now = now.Add(2 * time.Second)
	if n := run(1000, 1<<20, 100*time.Millisecond); n > 32 {
		t.Errorf("of a megabyte each %d are on call", n)
	}
	run(100, 0, 10*time.Millisecond)
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
