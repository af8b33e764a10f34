package compat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker/amqpbroker"
)

const (
	siegeBeats   = 2 // of one schedule
	siegeEntries = 2 // of that, each sent twice a second
)

// tend lets beats send runs of an entry while a fault is there, but for faults that take from the broker what it knows of the
// schedule: then what has been sent so far is counted.
func (s *siege) tend(next *fault) {
	s.t.Helper()
	switch {
	case s.celerys() || s.kind == "mixed":
	case next.drops || next.rewinds:
		s.endBeats()
		if next.drops {
			s.counted = 0
		}
	case len(s.beats) == 0:
		s.beats = make([]*process, siegeBeats)
		for i := range s.beats {
			s.startBeat(i)
		}
	}
}

func (s *siege) startBeat(i int) {
	s.t.Helper()
	entries, modules := map[string]any{}, s.modules()
	for n := range siegeEntries {
		entries[fmt.Sprint("slot", n)] = map[string]any{"task": modules[n%len(modules)] + ".work_slot", "schedule": 0.5}
	}
	file := settingsFile(s.t, map[string]any{
		"broker_url": s.app.broker, "broker_transport_options": s.transport(), "broker_connection_max_retries": 0, "beat_schedule": entries,
	})
	s.beats[i] = start(s.t, fmt.Sprint("beat ", i), "", nil, apiumBinary, "beat", "--config", file, "-n", fmt.Sprintf("celerybeat@b%d", i), "-l", "info", "--lead-for", fmt.Sprint(siegeLead))
}

// leader waits until a beat sends, and tells which.
func (s *siege) leader() (leader int) {
	s.t.Helper()
	s.sends("a beat", func(i int) bool { leader = i; return true })
	return leader
}

// sends waits until one of some beats sends.
func (s *siege) sends(who string, counts func(i int) bool) {
	s.t.Helper()
	s.beatSays("Sending due task", who+" sends", counts)
}

// beatSays waits until one of some beats has said something again.
func (s *siege) beatSays(text, what string, counts func(i int) bool) {
	s.t.Helper()
	before := make([]int, len(s.beats))
	for i, b := range s.beats {
		before[i] = b.log.count(text)
	}
	s.await(what, func() bool {
		for i, b := range s.beats {
			if b.log.count(text) > before[i] && counts(i) {
				return true
			}
		}
		return len(s.beats) == 0
	})
}

// killBeat kills whichever beat sends, and starts it again.
func killBeat(s *siege) {
	i := s.leader()
	s.beats[i].kill()
	s.startBeat(i)
}

// freezeBeat freezes whichever beat sends until another one does.
func freezeBeat(s *siege) {
	frozen := s.leader()
	s.beats[frozen].signal(s.t, syscall.SIGSTOP)
	s.sends("another beat", func(i int) bool { return i != frozen })
	s.beats[frozen].signal(s.t, syscall.SIGCONT)
}

// beatsGoOn waits until a run is done that has begun after a fault.
func (s *siege) beatsGoOn(after place) {
	s.t.Helper()
	if len(s.beats) == 0 {
		return
	}
	s.await("beats go on", func() bool {
		return slices.ContainsFunc(s.ledger.journal.journalKeys(s.t, "started")[after.started:], func(key string) bool {
			return strings.HasPrefix(key, slotPrefix)
		})
	})
}

// endBeats ends the beats, and has the ledger expect what they have sent.
func (s *siege) endBeats() {
	s.t.Helper()
	if len(s.beats) == 0 {
		return
	}
	for _, b := range s.beats {
		b.signal(s.t, syscall.SIGTERM)
	}
	for _, b := range s.beats {
		if code := b.exitCode(s.t); code != 0 {
			s.t.Errorf("%s: exit code %d", b.name, code)
		}
	}
	s.beats = nil
	total := s.slotsSent()
	s.ledger.runs += total - s.counted
	s.counted = total
}

// slotsSent is how many runs of the entries are stored as sent.
func (s *siege) slotsSent() (n int) {
	s.t.Helper()
	var stored map[string]string
	if s.rabbit != nil {
		p, err := amqpbroker.OpenPublisher(s.t.Context(), amqpbroker.PublisherConfig{URL: s.server.vhost.URL()})
		if err != nil {
			s.t.Fatal(err)
		}
		defer p.Close()
		if stored, err = p.Slots(s.t.Context(), "default"); err != nil {
			s.t.Fatal(err)
		}
	} else {
		stored, _ = redis.StringMap(s.server.do(s.t, "HGETALL", "apium.beat.default"), nil)
	}
	for i := range siegeEntries {
		var run struct{ Count int }
		if text := stored[fmt.Sprint("slot", i)]; text != "" {
			if err := json.Unmarshal([]byte(text), &run); err != nil {
				s.t.Fatal(err)
			}
		}
		n += run.Count
	}
	return n
}
