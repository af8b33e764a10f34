package redisbroker_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings/connection"
)

// faulty returns how to connect through a network with faults.
func faulty() (connection.Options, *redistest.Faults) {
	faults := new(redistest.Faults)
	return connection.Options{Dial: faults.Dial}, faults
}

func (s *server) faultyPublisher(t *testing.T) (*redisbroker.Publisher, *redistest.Faults) {
	t.Helper()
	network, faults := faulty()
	p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: s.URL(0), Connection: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, faults
}

func message(id string) broker.Publication {
	return broker.Publication{RoutingKey: "q", Message: brokertest.Message(id, 0)}
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
	bad := broker.Publication{RoutingKey: "no list", Message: brokertest.Message("2", 0)}
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

// The answer to a conclusion is lost: what follows was published, and is not again.
func TestLostAnswerToConclude(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	network, faults := faulty()
	c, err := redisbroker.Open(t.Context(), redisbroker.Config{URL: s.URL(0), Connection: network, Queues: broker.Named("work")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p := s.publisher(t)
	concluder := c.Concluder(p)
	for i, text := range []string{"first", "second"} {
		s.Do(t, "LPUSH", "work", envelopetest.New("work", text, 0))
		ds, err := c.Claim(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for attempt := 0; ; attempt++ {
			_, err := concluder.Conclude(t.Context(), broker.Conclusion{Tag: ds[0].Tag, Publish: []broker.Publication{message(text)}})
			if err == nil && attempt == 2*i {
				break
			}
			if err == nil || attempt == 2*i {
				t.Fatalf("attempt %d: %v", attempt, err)
			}
		}
		faults.LoseAnswers(`"second"`, 2) // from now on Redis knows the script
	}
	if queued, held := s.int(t, "LLEN", "q"), s.int(t, "HLEN", "unacked"); queued != 2 || held != 0 {
		t.Errorf("%d messages follow, want 2; %d are held", queued, held)
	}
}

// Of several servers, messages are acknowledged on one and published to another, unless both
// sides share a Failover.
func TestConcluderWithFailover(t *testing.T) {
	t.Parallel()
	s, shared := newServer(t), new(connection.Failover)
	servers := s.URL(0) + ";" + s.URL(0)
	c := s.openAt(t, redisbroker.Config{URL: servers, Failover: shared, Queues: broker.Named("work")})
	for failover, able := range map[*connection.Failover]bool{shared: true, nil: false, new(connection.Failover): false} {
		p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: servers, Failover: failover})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		if got := c.Concluder(p) != nil; got != able {
			t.Errorf("shared %v: %v", failover == shared, got)
		}
	}
}

// Only what is published to the database that messages are claimed from can go along with
// their acknowledgement.
func TestConcluder(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("work")})
	for url, able := range map[string]bool{s.URL(0): true, s.URL(1): false, s.SocketURL(0): false} {
		p, err := redisbroker.OpenPublisher(t.Context(), redisbroker.PublisherConfig{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		if got := c.Concluder(p) != nil; got != able {
			t.Errorf("with %s: %v, want %v", url, got, able)
		}
	}
	unrecorded := s.open(t, redisbroker.Config{Queues: broker.Named("work"), NoAckEmulation: true})
	if unrecorded.Concluder(s.publisher(t)) != nil {
		t.Error("nothing is acknowledged without records")
	}
	s.Do(t, "SET", "no list", "1")
	s.Do(t, "LPUSH", "work", envelopetest.New("work", "1", 0))
	ds, err := c.Claim(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	bad := broker.Publication{RoutingKey: "no list", Message: brokertest.Message("2", 0)}
	_, err = c.Concluder(s.publisher(t)).Conclude(t.Context(), broker.Conclusion{Tag: ds[0].Tag, Publish: []broker.Publication{message("1"), bad}})
	var refused *broker.RefusedError
	if queued, held := s.int(t, "LLEN", "q"), s.int(t, "HLEN", "unacked"); !errors.As(err, &refused) || queued != 0 || held != 1 {
		t.Errorf("a key that is no list: %v; %d published, %d held", err, queued, held)
	}
}

// Without records, too, what is given back, forwarded or buried is so once.
func TestLostAnswersWithoutRecords(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(c *redisbroker.Consumer, d broker.Delivery) error{
		"requeue": func(c *redisbroker.Consumer, d broker.Delivery) error { return c.Requeue(t.Context(), broker.Back, d) },
		"forward": func(c *redisbroker.Consumer, d broker.Delivery) error { return c.Forward(t.Context(), "q", d) },
		"bury": func(c *redisbroker.Consumer, d broker.Delivery) error {
			return c.Bury(t.Context(), broker.DeadLetter{Delivery: d, Reason: "poison", At: time.Now()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			network, faults := faulty()
			c, err := redisbroker.Open(t.Context(), redisbroker.Config{URL: s.URL(0), Connection: network, Queues: broker.Named("q"), NoAckEmulation: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			for lost := range 3 { // none at first: then Redis knows the script
				s.Do(t, "LPUSH", "q", envelopetest.New("q", fmt.Sprint("id", lost), 0))
				ds, err := c.Claim(t.Context(), 1)
				if err != nil {
					t.Fatal(err)
				}
				faults.LoseAnswers(fmt.Sprint("id", lost), lost)
				for attempt := 0; attempt < 5; attempt++ {
					if err := do(c, ds[0]); err == nil {
						break
					}
				}
				if queued, buried := s.int(t, "LLEN", "q"), s.int(t, "HLEN", "apium.dlq"); queued+buried != 1 || faults.Left() > 0 {
					t.Errorf("%d lost answers: %d messages are queued, %d buried; %d answers were not lost", lost, queued, buried, faults.Left())
				}
				s.Do(t, "DEL", "q", "apium.dlq")
			}
		})
	}
}

// A broadcast message is kept once, whatever becomes of the connection meanwhile.
func TestBrokenBroadcast(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	network, faults := faulty()
	c, err := redisbroker.Open(t.Context(), redisbroker.Config{
		URL: s.URL(0), Connection: network, Queues: []broker.Queue{{Name: "news", Exchange: "news", ExchangeType: broker.Fanout}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p := s.publisher(t)
	eventually(t, "the exchange is listened to", func() bool { return s.int(t, "PUBSUB", "NUMPAT") == 1 })
	kept := func() (n int) {
		for _, list := range s.strings(t, "KEYS", "apium.fanout.*") {
			n += s.int(t, "LLEN", list)
		}
		return n
	}
	for i, text := range []string{"first", "second"} { // the second time Redis knows the script
		if err := p.Broadcast(t.Context(), broker.Publication{Exchange: "news", Message: brokertest.Message(text, 0)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the message is kept", func() bool { return kept() > i })
		faults.Delay(`"second"`)
	}
	faults.Deliver(t)
	if n := kept(); n != 2 {
		t.Errorf("%d messages are kept, want 2", n)
	}
}
