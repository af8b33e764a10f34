package simulation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
)

const (
	// periodic is the queue that beats send to. Nobody consumes it: what is in it is what was sent.
	periodic = "periodic"
	leadFor  = 10 * time.Second
	// takeover is how long after the end of a fault some slot may be sent late, or left out for the next one. The lead of who is gone lasts
	// for leadFor, others ask for it every second, and then read what is stored, over a network that may be slow.
	takeover = leadFor + 5*time.Second
	// prompt is how late a slot may be sent while nothing is wrong.
	prompt = 2 * time.Second
)

// intervals are the schedules of the entries, by name.
var intervals = map[string]time.Duration{"often": 4 * time.Second, "seldom": 11 * time.Second}

// TestBeats has beats compete for one schedule while they are killed, stopped and cut off.
func TestBeats(t *testing.T) {
	t.Parallel()
	eachSeed(t, competing)
}

func competing(t *testing.T, seed uint64) {
	var log journal
	f := newFleet(t, seed, &log)
	defer f.close()
	f.live = f.beat
	random := f.network.Random()
	for range 2 + random.IntN(2) {
		f.start()
	}
	calm := 2 * takeover
	s := newSent(f)
	harm := &harm{random: random, left: random.IntN(12), often: 5 + random.IntN(300)}
	for quiet := time.Now(); harm.left > 0 || time.Since(quiet) < calm; {
		f.network.Step(milliseconds(random.IntN(3000)))
		synctest.Wait() // until Redis has done what has arrived
		s.look()
		left := harm.left
		harm.step(f)
		if harm.left < left {
			quiet = f.allBack()
			s.troubles = append(s.troubles, span{from: time.Now(), until: quiet.Add(takeover)})
		}
	}
	for _, fault := range s.faults() {
		t.Error(fault)
	}
	if t.Failed() {
		t.Logf("again, perhaps: go test ./internal/simulation -run TestBeats -seed %d -count 100 -failfast", seed)
		t.Logf("it took until %s\n%s", since(time.Now()), &log)
	}
}

// allBack is when nobody is cut off any more.
func (f *fleet) allBack() time.Time {
	back := later(time.Now(), f.back)
	for _, n := range f.nodes {
		back = later(back, n.back)
	}
	return back
}

// beat is the life of a beat's process.
func (f *fleet) beat(ctx context.Context, n *node) {
	log := slog.New(slog.NewTextHandler(f.log, nil)).With("node", n.name)
	publisher, err := redisbroker.OpenPublisher(ctx, redisbroker.PublisherConfig{URL: redisURL, Connection: f.dial(n.name)})
	if err != nil {
		log.Error("cannot publish", "error", err)
		return
	}
	defer publisher.Close()
	producer, err := client.New(client.Config{Publisher: publisher})
	if err != nil {
		f.t.Error(err)
		return
	}
	var entries []*beat.Entry
	for name, interval := range intervals {
		every, err := schedule.NewEvery(interval)
		if err != nil {
			f.t.Error(err)
			return
		}
		entries = append(entries, &beat.Entry{Name: name, Task: name, Schedule: every, Options: json.RawMessage(`{"queue": "` + periodic + `"}`)})
	}
	b, err := beat.New(beat.Config{
		Sources: []beat.Source{beat.NewStatic("entries", entries...)}, Producer: producer, Slots: publisher,
		Node: "celerybeat@" + n.name, LeadFor: leadFor, Logger: log,
	})
	if err != nil {
		f.t.Error(err)
		return
	}
	b.Run(ctx)
}

// A sending is one message of an entry, and the slot that is stored from then on.
type sending struct{ at, slot time.Time }

// sent is what was seen in Redis, where one look follows each write that arrives.
type sent struct {
	f        *fleet
	messages int
	sendings map[string][]sending // by entry
	since    map[string]time.Time // when entries were first seen, from which their slots are counted
	troubles []span
	wrong    []string
}

func newSent(f *fleet) *sent {
	return &sent{f: f, sendings: map[string][]sending{}, since: map[string]time.Time{}}
}

// look compares what has been sent since the last look with what is stored of it.
func (s *sent) look() {
	messages, _ := s.f.redis.List(periodic) // none: the key is missing
	fresh := map[string]int{}
	for _, message := range messages[:len(messages)-s.messages] { // the newest is the first
		var envelope struct{ Headers struct{ Task string } }
		if err := json.Unmarshal([]byte(message), &envelope); err != nil {
			s.f.t.Error(err)
		}
		fresh[envelope.Headers.Task]++
	}
	s.messages = len(messages)
	for entry := range intervals {
		s.compare(entry, fresh[entry])
	}
}

// compare sees that an entry's messages since the last look are one for each slot that is stored.
func (s *sent) compare(entry string, messages int) {
	stored := s.f.redis.HGet("apium.beat.default", entry)
	if stored == "" && messages == 0 {
		return
	}
	var state struct{ Slot, Since time.Time }
	if err := json.Unmarshal([]byte(stored), &state); err != nil {
		s.f.t.Error(err)
		return
	}
	if s.since[entry].IsZero() {
		s.since[entry] = state.Since
	}
	var last time.Time
	if n := len(s.sendings[entry]); n > 0 {
		last = s.sendings[entry][n-1].slot
	}
	switch {
	case messages == 0 && state.Slot.Equal(last):
		return
	case messages != 1 || !state.Slot.After(last):
		s.wrong = append(s.wrong, fmt.Sprintf("%s was sent %d times %s, for the slot %s after that of %s",
			entry, messages, since(time.Now()), since(state.Slot), since(last)))
	}
	s.sendings[entry] = append(s.sendings[entry], sending{at: time.Now(), slot: state.Slot})
}

// faults are what was sent twice, before its time, or at no slot's, and what was late or not sent though nothing was wrong.
func (s *sent) faults() []string {
	faults := s.wrong
	for entry, interval := range intervals {
		sendings := s.sendings[entry]
		for _, sent := range sendings {
			if sent.at.Before(sent.slot) || sent.slot.Sub(s.since[entry])%interval != 0 {
				faults = append(faults, fmt.Sprintf("%s was sent %s for the slot %s", entry, since(sent.at), since(sent.slot)))
			}
		}
		for slot := s.since[entry].Add(interval); time.Since(slot) > prompt; slot = slot.Add(interval) {
			i := slices.IndexFunc(sendings, func(sent sending) bool { return sent.slot.Equal(slot) })
			switch {
			case s.excused(slot):
			case i < 0:
				faults = append(faults, fmt.Sprintf("%s was not sent for the slot %s", entry, since(slot)))
			case sendings[i].at.Sub(slot) > prompt:
				faults = append(faults, fmt.Sprintf("%s was sent %s for the slot %s", entry, since(sendings[i].at), since(slot)))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// excused tells whether something was wrong when a slot was due, or soon after it.
func (s *sent) excused(slot time.Time) bool {
	return slices.ContainsFunc(s.troubles, func(trouble span) bool {
		return trouble.from.Before(slot.Add(prompt)) && slot.Before(trouble.until)
	})
}
