package redisbroker_test

import (
	"errors"
	"testing"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/internal/redistest"
)

// faulty returns how to connect through a network with faults.
func (s *server) faulty(t *testing.T) (*redisconn.Config, *redistest.Faults) {
	t.Helper()
	faults := new(redistest.Faults)
	cfg, err := redisconn.Parse(s.URL(0), redisconn.Broker, redisconn.Options{NetDial: faults.Dial})
	if err != nil {
		t.Fatal(err)
	}
	return cfg, faults
}

func (s *server) faultyPublisher(t *testing.T) (*redisbroker.Publisher, *redistest.Faults) {
	t.Helper()
	cfg, faults := s.faulty(t)
	p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{Redis: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, faults
}

func message(id string) broker.Publication {
	return broker.Publication{RoutingKey: "q", Message: brokertest.Envelope("q", id, 0)}
}

// publish publishes until it succeeds, as callers do.
func publish(t *testing.T, p *redisbroker.Publisher, messages ...broker.Publication) {
	t.Helper()
	for attempt := range 10 {
		err := p.Publish(t.Context(), messages...)
		if err == nil {
			return
		}
		t.Logf("attempt %d: %v", attempt, err)
	}
	t.Fatal("cannot publish")
}

// The answer to a publication is lost with the connection: it was published, and is not again.
func TestLostAnswerToPublish(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, faults := s.faultyPublisher(t)
	publish(t, p, message("before"))
	faults.LoseAnswers(`"lost"`, 2)
	publish(t, p, message("lost"), message("with it"))
	publish(t, p, message("after"))
	if n := s.int(t, "LLEN", "q"); n != 4 || faults.Left() != 0 {
		t.Errorf("%d messages, want 4; %d answers were not lost", n, faults.Left())
	}
}

// A publication that comes late, after it was sent once more, is not published again.
func TestLatePublication(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, faults := s.faultyPublisher(t)
	publish(t, p, message("before"))
	faults.Delay(`"late"`)
	publish(t, p, message("late"))
	publish(t, p, message("after"))
	faults.Deliver(t)
	if n := s.int(t, "LLEN", "q"); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
}

// If one message of a call is refused, none is published: the caller sends the others again.
func TestPublishAllOrNone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Do(t, "SET", "no list", "1")
	p := s.publisher(t)
	bad := broker.Publication{RoutingKey: "no list", Message: brokertest.Envelope("no list", "2", 0)}
	var refused *broker.RefusedError
	if err := p.Publish(t.Context(), message("1"), bad, message("3")); !errors.As(err, &refused) {
		t.Errorf("Publish: %v", err)
	}
	if n := s.int(t, "LLEN", "q"); n != 0 {
		t.Errorf("%d messages of a call that was refused", n)
	}
}

// A publisher that is closed in peace leaves no marks behind.
func TestMarksAreForgotten(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	publish(t, p, message("1"))
	if marks := s.strings(t, "KEYS", "apium.once.*"); len(marks) != 1 || s.int(t, "TTL", marks[0]) < 80_000 {
		t.Errorf("marks: %q", marks)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if marks := s.strings(t, "KEYS", "apium.once.*"); len(marks) != 0 {
		t.Errorf("marks after Close: %q", marks)
	}
}
