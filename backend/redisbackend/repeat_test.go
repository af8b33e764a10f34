package redisbackend_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings/connection"
)

// openFaulty returns a backend behind a network with faults, whose scripts the server knows.
func openFaulty(t *testing.T) (*redistest.Server, *redisbackend.Backend, *redistest.Faults) {
	t.Helper()
	s := redistest.Start(t)
	faults := new(redistest.Faults)
	b, err := redisbackend.New(redisbackend.Config{URL: s.URL(0), Connection: connection.Options{Dial: faults.Dial}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	grow(t, b)
	setSize(t, b, 1)
	count(t, b, backendtest.Part("g", 0))
	s.Do(t, "DEL", "celery-taskset-meta-g.t", "celery-taskset-meta-g.a", "celery-taskset-meta-g.j", "celery-taskset-meta-g.d")
	return s, b, faults
}

// grow adds one part, as often as callers try to.
func grow(t *testing.T, b *redisbackend.Backend) {
	t.Helper()
	for range 10 {
		err := b.Grow(t.Context(), "g", 1)
		if err == nil {
			return
		}
		t.Log(err)
	}
	t.Fatal("cannot add to the chord")
}

// A chord that waited for a part more than there is would wait for ever.
func TestLostAnswerToGrow(t *testing.T) {
	t.Parallel()
	s, b, faults := openFaulty(t)
	faults.LoseAnswers("g.t", 3)
	grow(t, b)
	if n, err := redis.Int(s.Do(t, "GET", "celery-taskset-meta-g.t"), nil); n != 1 || err != nil || faults.Left() > 0 {
		t.Errorf("%d parts were added, want 1; %v; %d answers were not lost", n, err, faults.Left())
	}
	faults.Delay("g.t")
	grow(t, b)
	grow(t, b)
	faults.Deliver(t)
	if n, err := redis.Int(s.Do(t, "GET", "celery-taskset-meta-g.t"), nil); n != 3 || err != nil {
		t.Errorf("%d parts were added, want 3; %v", n, err)
	}
}

// Whoever completes a chord and does not hear of it has it nevertheless, and need not wait
// until the claim of one that nobody knows has run out.
func TestLostAnswerToCount(t *testing.T) {
	t.Parallel()
	_, b, faults := openFaulty(t)
	faults.LoseAnswers("task0", 2)
	counts := count(t, b, backendtest.Part("g", 0), backendtest.Part("g", 0))
	if counts[0].State != backend.ChordComplete || counts[1].State != backend.ChordClaimed || faults.Left() > 0 {
		t.Errorf("counted: %+v; %d answers were not lost", counts, faults.Left())
	}
	if err := b.Finish(t.Context(), counts[0].Claim, false); err != nil {
		t.Errorf("Finish: %v", err)
	}
}

// Whoever ends a chord to run its body, and does not hear of it, runs that: nobody else would.
func TestLostAnswerToTakeBody(t *testing.T) {
	t.Parallel()
	s, b, faults := openFaulty(t)
	claim := count(t, b, backendtest.Part("g", 0))[0].Claim
	taken := func() {
		t.Helper()
		if err := b.TakeBody(t.Context(), claim); err != nil {
			t.Errorf("TakeBody: %v", err)
		}
		if keys, _ := redis.Strings(s.Do(t, "KEYS", "celery-taskset-meta-g.*"), nil); len(keys) != 1 {
			t.Errorf("%q are left", keys)
		}
	}
	faults.LoseAnswers("g.c", 2)
	if taken(); faults.Left() > 0 {
		t.Errorf("%d answers were not lost", faults.Left())
	}
	// A claim that ran out is not taken: who has heard of that claims the chord anew, and does so before the same comes once more.
	setSize(t, b, 1)
	claim = count(t, b, backendtest.Part("g", 0))[0].Claim
	s.Do(t, "DEL", "celery-taskset-meta-g.a")
	faults.Delay("g.c")
	if err := b.TakeBody(t.Context(), claim); !errors.Is(err, backend.ErrClaimLost) {
		t.Errorf("TakeBody after the claim: %v", err)
	}
	claim = count(t, b, backendtest.Part("g", 0))[0].Claim
	faults.Deliver(t)
	taken()
}

// A size that is set late does not begin a run of a chord that is done.
func TestLateSize(t *testing.T) {
	t.Parallel()
	s, b, faults := openFaulty(t)
	faults.Delay("g.s")
	setSize(t, b, 1)
	claim := count(t, b, backendtest.Part("g", 0))[0].Claim
	if err := b.Finish(t.Context(), claim, false); err != nil {
		t.Fatal(err)
	}
	faults.Deliver(t)
	if done, _ := redis.String(s.Do(t, "GET", "celery-taskset-meta-g.c"), nil); done != "done" {
		t.Errorf(".c is %q after a late SetSize", done)
	}
}

// A record that is stored late, after it was sent once more, does not take the place of what
// its task has become since.
func TestLateRecord(t *testing.T) {
	t.Parallel()
	s, b, faults := openFaulty(t)
	store := func(id, state string) {
		t.Helper()
		record := fmt.Appendf(nil, `{"status": %q, "result": null, "task_id": %q}`, state, id)
		for attempt := 0; ; attempt++ {
			err := b.Store(t.Context(), backend.Record{TaskID: id, Document: record})
			if err == nil {
				return
			}
			if attempt == 10 {
				t.Fatalf("Store: %v", err)
			}
		}
	}
	store("first", "STARTED")
	faults.Delay("meta-second")
	store("second", "STARTED")
	// Another process: its records have other marks.
	s.Do(t, "SET", "celery-task-meta-second", `{"status": "FAILURE"}`)
	faults.Deliver(t)
	if got, err := b.Load(t.Context(), "second"); err != nil || string(got) != `{"status": "FAILURE"}` {
		t.Errorf("after a late record: %s, %v", got, err)
	}
	faults.LoseAnswers("meta-third", 2)
	store("third", "FAILURE")
	store("third", "RETRY")
	store("third", "SUCCESS")
	if got, err := b.Load(t.Context(), "third"); err != nil || !strings.Contains(string(got), "SUCCESS") || faults.Left() > 0 {
		t.Errorf("after lost answers: %s, %v", got, err)
	}
}

// A large record is stored and its clients are woken however often answers are lost.
func TestLostAnswerToLargeRecord(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"SET", "PUBLISH"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			s, b, faults := openFaulty(t)
			record := backendtest.Record("SUCCESS", "large", `"`+strings.Repeat("x", 100_000)+`"`)
			ps := redis.PubSubConn{Conn: s.Dial(t, 0)}
			if err := ps.Subscribe("celery-task-meta-large"); err != nil {
				t.Fatal(err)
			}
			ps.Receive()
			faults.LoseAnswers("\r\n"+command+"\r\n", 1)
			if err := b.Store(t.Context(), record); err == nil {
				t.Error("the answer was not lost")
			}
			if err := b.Store(t.Context(), record); err != nil { // as the worker does
				t.Fatal(err)
			}
			if m, ok := ps.ReceiveWithTimeout(time.Minute).(redis.Message); !ok || string(m.Data) != string(record.Document) || faults.Left() > 0 {
				t.Errorf("published: %.60s…", m.Data)
			}
		})
	}
}
