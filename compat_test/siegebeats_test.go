package compat_test

import (
	"encoding/json"
	"fmt"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker/amqpbroker"
)

const (
	siegeBeats = 2 // of one schedule
	// siegeEntry is the entry of their schedule.
	siegeEntry = "slot"
)

// tend lets beats send runs of an entry while a fault is there, but for faults that take from the broker what it knows of the
// schedule: then what has been sent so far is counted.
func (s *siege) tend(next *fault) {
	s.t.Helper()
	switch {
	case s.kind != "go" && s.kind != "children":
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
	file := settingsFile(s.t, map[string]any{
		"broker_url": s.app.broker, "broker_transport_options": s.transport(), "broker_connection_max_retries": 0,
		"beat_schedule": map[string]any{siegeEntry: map[string]any{"task": "tapp.work_slot", "schedule": 0.25}},
	})
	s.beats[i] = start(s.t, fmt.Sprint("beat ", i), "", nil, apiumBinary, "beat", "--config", file, "-n", fmt.Sprintf("celerybeat@b%d", i), "-l", "info")
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

// slotsSent is how many runs of the entry are stored as sent.
func (s *siege) slotsSent() int {
	s.t.Helper()
	var stored string
	if s.rabbit != nil {
		p, err := amqpbroker.OpenPublisher(s.t.Context(), amqpbroker.PublisherConfig{URL: s.server.vhost.URL()})
		if err != nil {
			s.t.Fatal(err)
		}
		defer p.Close()
		slots, err := p.Slots(s.t.Context(), "default")
		if err != nil {
			s.t.Fatal(err)
		}
		stored = slots[siegeEntry]
	} else {
		stored, _ = redis.String(s.server.do(s.t, "HGET", "apium.beat.default", siegeEntry), nil)
	}
	var run struct {
		Count int
		Slot  time.Time
	}
	if stored != "" {
		if err := json.Unmarshal([]byte(stored), &run); err != nil {
			s.t.Fatal(err)
		}
	}
	return run.Count
}
