package redisbroker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
)

// publish puts n messages on the queue q.
func (s *server) publish(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		s.Do(t, "LPUSH", "q", envelopetest.New("q", fmt.Sprint(i), 0))
	}
}

// park claims n messages and parks them for a time from now.
func park(t *testing.T, c *redisbroker.Consumer, n int, in time.Duration) {
	t.Helper()
	for n > 0 {
		ds, err := c.Claim(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		n -= len(ds)
		parked := make([]broker.Parked, len(ds))
		for i, d := range ds {
			parked[i] = broker.Parked{Delivery: d, Due: time.Now().Add(in)}
		}
		if lost, err := c.Park(t.Context(), parked...); len(lost) > 0 || err != nil {
			t.Fatalf("Park: lost %v, %v", lost, err)
		}
	}
}

// What is parked looks to Python like a claim that expires when it is due.
func TestParkedOnTheWire(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.publish(t, 1)
	ds, err := c.Claim(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	due := time.Unix(1900000000, 250000000)
	if _, err := c.Park(t.Context(), broker.Parked{Delivery: ds[0], Due: due}); err != nil {
		t.Fatal(err)
	}
	tag := "apium.parked:" + strings.TrimPrefix(ds[0].Tag, "apium-")
	record := fmt.Sprintf(`[%s,"","q"]`, envelopetest.New("q", "0", 0))
	for key, want := range map[string][]string{
		"unacked":        s.strings(t, "HGETALL", "unacked"),
		"unacked_index":  s.strings(t, "ZRANGE", "unacked_index", 0, -1, "WITHSCORES"),
		"apium.parked":   s.strings(t, "SMEMBERS", "apium.parked"),
		"apium.parked.q": s.strings(t, "ZRANGE", "apium.parked.q", 0, -1, "WITHSCORES"),
	} {
		got := map[string][]string{
			"unacked":        {tag, record},
			"unacked_index":  {tag, "1899996400.25"},
			"apium.parked":   {"q"},
			"apium.parked.q": {tag, "1900000000.25"},
		}[key]
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	n, next, err := c.Parked(t.Context())
	if n != 1 || !next.Equal(due) || err != nil {
		t.Errorf("Parked: %d, %v, %v; want 1, %v", n, next, err, due)
	}
	unacked, _, err := c.Unacked(t.Context())
	age, errAge := c.OldestUnacked(t.Context())
	if unacked != 0 || age != 0 || err != nil || errAge != nil {
		t.Errorf("%d unacked, the oldest for %v (%v, %v); want none", unacked, age, err, errAge)
	}
}

func TestOldestUnackedBehindParked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.publish(t, 1201)
	park(t, c, 1200, 10*time.Minute)
	if _, err := c.Claim(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	s.Do(t, "ZADD", "unacked_index", time.Now().Add(-time.Minute).Unix(), c.ID()+":1200")
	unacked, _, err := c.Unacked(t.Context())
	age, errAge := c.OldestUnacked(t.Context())
	if unacked != 1 || age < time.Minute || age > 2*time.Minute || err != nil || errAge != nil {
		t.Errorf("%d unacked, the oldest for %v (%v, %v); want 1 for a minute", unacked, age, err, errAge)
	}
}

// Parked messages outlive the worker that parked them, and are not handed back early.
func TestParkedOutliveWorkers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.publish(t, 20)
	parker := s.startChild(t, modePark)
	eventually(t, "all messages are parked", func() bool {
		exists := s.int(t, "EXISTS", "apium.parked.q") == 1
		return exists && s.int(t, "ZCARD", "apium.parked.q") == 20
	})
	_ = parker.Process.Kill()
	_ = parker.Wait()
	other := s.open(t, redisbroker.Config{Queues: broker.Named("other")})
	eventually(t, "the dead worker is buried", func() bool {
		return len(s.strings(t, "HKEYS", "apium.workers")) == 1
	})
	if n := s.int(t, "LLEN", "q"); n != 0 {
		t.Errorf("%d messages came back with their worker's death", n)
	}
	// Whose time has come, goes back to a queue that nobody consumes.
	for i, tag := range s.strings(t, "ZRANGE", "apium.parked.q", 0, -1) {
		s.Do(t, "ZADD", "apium.parked.q", i+1, tag)
	}
	eventually(t, "all messages are back", func() bool { return s.int(t, "LLEN", "q") == 20 })
	eventually(t, "the indices are gone", func() bool { return s.int(t, "EXISTS", "apium.parked", "apium.parked.q") == 0 })
	if n, _, err := other.Parked(t.Context()); n != 0 || err != nil {
		t.Errorf("%d parked, %v", n, err)
	}
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	ds, err := c.Claim(t.Context(), 20)
	if err != nil || len(ds) != 20 {
		t.Fatalf("%d deliveries, %v", len(ds), err)
	}
	for _, d := range ds {
		if strings.Contains(string(d.Raw), "redelivered") {
			t.Errorf("marked as redelivered: %s", d.Raw)
		}
	}
}

// Workers killed while they park and claim parked messages lose and double nothing.
func TestKilledParkers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const n = 400
	s.publish(t, n)
	for range 8 {
		worker := s.startChild(t, modeParkAndRun)
		before := s.int(t, "SCARD", "done")
		eventually(t, "the worker works", func() bool {
			done := s.int(t, "SCARD", "done")
			return done > before || done == n
		})
		_ = worker.Process.Kill()
		_ = worker.Wait()
	}
	s.startChild(t, modeParkAndRun)
	eventually(t, "all messages are done", func() bool { return s.int(t, "SCARD", "done") == n })
	eventually(t, "nothing is held", func() bool { return s.int(t, "HLEN", "unacked") == 0 })
	eventually(t, "nothing is left", func() bool { return s.int(t, "EXISTS", "q", "unacked_index", "apium.parked.q") == 0 })
}

// While a worker claims what is due by the thousand, what is overdue does not go through its queue. In some attempts the first look
// comes too early.
func TestOverdueIsLeftToWhoClaims(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	const n = 10_000
	eventually(t, "all are claimed where they are", func() bool {
		s.publish(t, n)
		park(t, c, n, time.Hour)
		s.Do(t, "ZUNIONSTORE", "apium.parked.q", 1, "apium.parked.q", "WEIGHTS", 0) // they are overdue
		c.ForgetBeat()
		claimed := 0
		for more := true; more; {
			ds, err := c.Due(t.Context(), time.Now(), 500)
			if err != nil {
				t.Fatal(err)
			}
			claimed, more = claimed+len(ds), len(ds) == 500
			time.Sleep(50 * time.Millisecond) // so that others look meanwhile
		}
		return claimed == n
	})
}

// The sweep, here as if Python's, restores parked messages; the index forgets them.
func TestParkedRestoredBySweep(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.publish(t, 3)
	park(t, c, 3, time.Hour)
	tags := s.strings(t, "ZRANGE", "apium.parked.q", 0, -1)
	s.Do(t, "ZADD", "unacked_index", 1, tags[0]) // ours
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.int(t, "ZCARD", "apium.parked.q"); n != 2 {
		t.Errorf("%d messages in the index after our sweep, want 2", n)
	}
	s.Do(t, "HDEL", "unacked", tags[1]) // kombu does not know the index
	s.Do(t, "ZREM", "unacked_index", tags[1])
	ds, err := c.Due(t.Context(), time.Now().Add(2*time.Hour), 1)
	if err != nil || len(ds) != 1 {
		t.Errorf("Due: %d deliveries, %v", len(ds), err)
	}
	if n := s.int(t, "EXISTS", "apium.parked.q"); n != 0 {
		t.Error("the index is still there")
	}
	ds, err = c.Claim(t.Context(), 3)
	if err != nil || len(ds) != 1 || ds[0].Redeliveries != 0 {
		t.Errorf("restored: %+v, %v", ds, err)
	}
}

// The answer to a claim of parked messages is lost with the connection: they are not.
func TestLostAnswerOfDue(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, armed := s.cuttable(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	s.publish(t, 9)
	park(t, c, 9, time.Hour)
	wg.Go(func() { // a claim that waits meanwhile is not disturbed
		if ds, err := c.Claim(ctx, 1); err == nil {
			t.Errorf("claimed %v", ids(t, ds))
		}
	})
	for i := range 3 {
		armed.Store(true)
		ds, err := c.Due(t.Context(), time.Now().Add(2*time.Hour), 3)
		if err == nil || armed.Load() {
			t.Fatalf("Due: %d deliveries, %v; cut: %v", len(ds), err, !armed.Load())
		}
		ds, err = c.Due(t.Context(), time.Now().Add(2*time.Hour), 9)
		if err != nil || len(ds) != 3 {
			t.Fatalf("Due again: %d deliveries, %v", len(ds), err)
		}
		for _, d := range ds {
			if lost, err := c.Ack(t.Context(), d.Tag); len(lost) > 0 || err != nil {
				t.Errorf("Ack %d: lost %v, %v", i, lost, err)
			}
		}
	}
	cancel()
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if n := s.int(t, "EXISTS", "unacked", "unacked_index", "apium.workers", "q"); n != 0 {
		t.Errorf("%d keys left", n)
	}
}

// The answers to two recalls are lost, one after the other: what they claimed is not.
func TestLostAnswersOfRecall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, armed := s.cuttable(t)
	s.publish(t, 3)
	ds, err := c.Claim(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids(t, ds) {
		if lost, err := c.Park(t.Context(), broker.Parked{Delivery: ds[i], Due: time.Now().Add(time.Hour), TaskID: id}); len(lost) > 0 || err != nil {
			t.Fatalf("Park: lost %v, %v", lost, err)
		}
	}
	for _, id := range []string{"0", "1"} {
		armed.Store(true)
		if ds, err := c.Recall(t.Context(), id); err == nil || armed.Load() {
			t.Fatalf("Recall: %d deliveries, %v; cut: %v", len(ds), err, !armed.Load())
		}
	}
	seen := map[string]bool{}
	for len(seen) < 3 {
		ds, err := c.Due(t.Context(), time.Now().Add(2*time.Hour), 9)
		if err != nil || len(ds) == 0 {
			t.Fatalf("Due: %d deliveries, %v, after %v", len(ds), err, seen)
		}
		for _, id := range ids(t, ds) {
			if seen[id] {
				t.Errorf("%s is due twice", id)
			}
			seen[id] = true
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A worker that has been taken for dead registers again before it claims parked messages.
func TestParkedAreClaimedByTheRegistered(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.publish(t, 2)
	ds, err := c.Claim(t.Context(), 2)
	if err != nil || len(ds) != 2 {
		t.Fatalf("claimed %v, %v", ds, err)
	}
	if _, err := c.Park(t.Context(), broker.Parked{Delivery: ds[0], Due: time.Now().Add(time.Minute)},
		broker.Parked{Delivery: ds[1], Due: time.Now().Add(time.Hour), TaskID: "x"}); err != nil {
		t.Fatal(err)
	}
	for name, claim := range map[string]func() ([]broker.Delivery, error){
		"Due":    func() ([]broker.Delivery, error) { return c.Due(t.Context(), time.Now().Add(2*time.Minute), 9) },
		"Recall": func() ([]broker.Delivery, error) { return c.Recall(t.Context(), "x") },
	} {
		s.Do(t, "DEL", "apium.alive."+c.ID())
		if ds, err := claim(); len(ds) != 1 || err != nil {
			t.Errorf("%s: %d messages, %v", name, len(ds), err)
		}
		if n := s.int(t, "EXISTS", "apium.alive."+c.ID()); n != 1 {
			t.Errorf("%s has not registered the worker", name)
		}
	}
}

func TestParkWithoutAckEmulation(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q"), NoAckEmulation: true})
	s.publish(t, 2)
	ds, err := c.Claim(t.Context(), 2)
	if err != nil || len(ds) != 2 {
		t.Fatal(ds, err)
	}
	if _, err := c.Park(t.Context(), broker.Parked{Delivery: ds[0]}); err == nil {
		t.Error("parked what is not recorded")
	}
	if err := c.Forward(t.Context(), "other", ds[0]); err != nil {
		t.Error(err)
	}
	if err := c.Bury(t.Context(), broker.DeadLetter{Delivery: ds[1]}); err != nil {
		t.Error(err)
	}
	if moved, buried := s.int(t, "LLEN", "other"), s.int(t, "HLEN", "apium.dlq"); moved != 1 || buried != 1 {
		t.Errorf("%d forwarded and %d buried, want one each", moved, buried)
	}
}

// A parked message has its task's id for a tag, so a retry of the task has the tag of the attempt
// before. A sweep that found no record, as that attempt was on its way to a worker, leaves alone what
// has been parked under the tag since.
func TestSweepLeavesTheNextAttempt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.publish(t, 1)
	park(t, c, 1, time.Hour)
	tags, err := redis.Strings(s.Do(t, "ZRANGE", "unacked_index", 0, -1), nil)
	if err != nil || len(tags) != 1 {
		t.Fatalf("parked: %q, %v", tags, err)
	}
	if err := c.MoveMissing(t.Context(), tags[0]); err != nil {
		t.Fatal(err)
	}
	for key, read := range map[string]string{"unacked": "HLEN", "unacked_index": "ZCARD", "apium.parked.q": "ZCARD"} {
		if n := s.Do(t, read, key); n != int64(1) {
			t.Errorf("%s has %v members, want 1", key, n)
		}
	}
	s.Do(t, "HDEL", "unacked", tags[0])
	if err := c.MoveMissing(t.Context(), tags[0]); err != nil {
		t.Fatal(err)
	}
	if n := s.Do(t, "EXISTS", "unacked_index", "apium.parked.q"); n != int64(0) {
		t.Error("an index without a record is left")
	}
}

// What is due comes first due first, whatever queue it is of, and wherever in between messages are gone that others have
// restored or that find no room: those that nobody has claimed stay where they are.
func TestDueComesInOrder(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("even", "odd")})
	const n, firstClaim = 150, 70
	for i := range n { // the queue that comes first has what is due first, in turns
		tag, queue := fmt.Sprintf("apium.parked:%03d", i), []string{"even", "odd"}[i%2]
		s.Do(t, "HSET", "unacked", tag, fmt.Sprintf(`[%s,"",%q]`, envelopetest.New(queue, fmt.Sprint(i), 0), queue))
		s.Do(t, "ZADD", "apium.parked."+queue, i/4, tag)
		s.Do(t, "ZADD", "unacked_index", time.Now().Unix(), tag)
	}
	order := func(from, to int) (want []string) { // of four that are due at once, those of the first queue come first
		for i := from; i < to; i += 4 {
			for _, j := range []int{i, i + 2, i + 1, i + 3} {
				if j%7 != 3 && j < to {
					want = append(want, fmt.Sprint(j))
				}
			}
		}
		return want
	}
	for i := 3; i < n; i += 7 {
		s.Do(t, "HDEL", "unacked", fmt.Sprintf("apium.parked:%03d", i))
	}
	all := order(0, n)
	c.ForgetBeat()
	first, err := c.Due(t.Context(), time.Now(), firstClaim)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := c.Due(t.Context(), time.Now(), n)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) == 0 || len(first) > firstClaim || len(first)+len(rest) != len(all) {
		t.Errorf("claimed %d, then %d of %d", len(first), len(rest), len(all))
	}
	if diff := cmp.Diff(ids(t, append(first, rest...)), all); diff != "" {
		t.Errorf("(-claimed +due):\n%s", diff)
	}
	if left := s.int(t, "EXISTS", "apium.parked.even", "apium.parked.odd"); left != 0 {
		t.Error("something is left in the indices")
	}
	if held := s.int(t, "HLEN", "unacked"); held != len(all) {
		t.Errorf("%d are recorded, want %d", held, len(all))
	}
}

// However small the first messages are, what is claimed with them is no larger than one answer may be.
func TestDueOfMixedSizes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	large := strings.Repeat("x", 2<<20) // it is in a message three times
	for i := range 40 {
		tag, text := fmt.Sprintf("apium.parked:%03d", i), fmt.Sprint(i)
		if i%10 == 9 {
			text += large
		}
		s.Do(t, "HSET", "unacked", tag, fmt.Sprintf(`[%s,"","q"]`, envelopetest.New("q", text, 0)))
		s.Do(t, "ZADD", "apium.parked.q", i, tag)
		s.Do(t, "ZADD", "unacked_index", time.Now().Unix(), tag)
	}
	seen, answers := 0, 0
	for more := true; more; {
		c.ForgetBeat()
		ds, err := c.Due(t.Context(), time.Now(), 100)
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for i, id := range ids(t, ds) {
			bytes += len(ds[i].Raw)
			if want := fmt.Sprint(seen + i); strings.TrimSuffix(id, large) != want {
				t.Fatalf("%.20s comes in the place of %s", id, want)
			}
		}
		if bytes > 16<<20 {
			t.Errorf("%d bytes in one answer", bytes)
		}
		seen, answers, more = seen+len(ds), answers+1, len(ds) > 0
	}
	if seen != 40 || answers < 3 {
		t.Errorf("%d claimed in %d answers", seen, answers)
	}
}
