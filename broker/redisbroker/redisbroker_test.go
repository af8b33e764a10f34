package redisbroker_test

import (
	"context"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/redistest"
)

var features = brokertest.Features{
	Leases: true, Unclaims: true, Chooses: true, Returns: true, Bypasses: true, Parks: true, Unparks: true, Recalls: true, ListsParked: true, Queues: true, Moves: true,
	Concludes: true, CountsStart: true, AllOrNone: true, Broadcasts: true, Replies: true, Asks: true,
	KombuOrder: true, Back: true, AtomicMoves: true,
}

func TestBroker(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]redistest.Option{
		"redis":     nil,
		"redis 3.2": {redistest.Redis32()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brokertest.Run(t, features, func(t *testing.T) brokertest.Fixture {
				return newServer(t, opts...).fixture(t)
			})
		})
	}
}

// On a node of a cluster all works, if all keys have one hash tag and the node has its slot.
func TestBrokerOnCluster(t *testing.T) {
	t.Parallel()
	brokertest.Run(t, features, func(t *testing.T) brokertest.Fixture {
		s := newServer(t, redistest.Cluster())
		s.prefix = "{celery}."
		return s.fixture(t)
	})
}

// server is a private Redis.
type server struct {
	*redistest.Server
	prefix string // global_keyprefix
}

func newServer(t testing.TB, opts ...redistest.Option) *server {
	t.Helper()
	return &server{Server: redistest.Start(t, opts...)}
}

func (s *server) fixture(t *testing.T) brokertest.Fixture {
	p := s.publisher(t)
	return brokertest.Fixture{
		Open: func(t *testing.T, queues ...string) broker.Consumer {
			return s.open(t, redisbroker.Config{Queues: broker.Named(queues...)})
		},
		Publisher: p,
		TakeAway: func(t *testing.T, tag string) {
			other := s.open(t, redisbroker.Config{Queues: broker.Named("unused")})
			for s.int(t, "HEXISTS", s.prefix+"unacked", tag) == 1 { // not while somebody else sweeps
				s.Do(t, "ZADD", s.prefix+"unacked_index", "XX", 1, tag) // XX: that sweep may just have taken it
				if err := other.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		},
		Leased: func(t *testing.T) int { return s.int(t, "HLEN", s.prefix+"unacked") },
		DeadLetters: func(t *testing.T) (all []broker.DeadLetter) {
			letters, err := s.deadLetters(t).List(t.Context(), 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range letters {
				all = append(all, broker.DeadLetter{Delivery: broker.Delivery{Queue: l.Queue, Content: broker.Content{Raw: l.Raw, Open: envelope.Open}}, Reason: l.Reason, At: l.Time})
			}
			return all
		},
	}
}

// open opens a consumer that logs to the test and is closed with it.
func (s *server) open(t testing.TB, cfg redisbroker.Config) *redisbroker.Consumer {
	t.Helper()
	cfg.URL = s.URL(0)
	if s.prefix != "" {
		cfg.GlobalKeyprefix = s.prefix
	}
	return s.openAt(t, cfg)
}

// openAt is open with a URL.
func (s *server) openAt(t testing.TB, cfg redisbroker.Config) *redisbroker.Consumer {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	c, err := redisbroker.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (s *server) publisher(t testing.TB) *redisbroker.Publisher {
	t.Helper()
	p, err := redisbroker.OpenPublisher(context.Background(), redisbroker.PublisherConfig{URL: s.URL(0), GlobalKeyprefix: s.prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (s *server) deadLetters(t testing.TB) *redisbroker.DeadLetters {
	t.Helper()
	d, err := redisbroker.OpenDeadLetters(context.Background(), redisbroker.PublisherConfig{URL: s.URL(0), GlobalKeyprefix: s.prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func (s *server) int(t testing.TB, cmd string, args ...any) int {
	t.Helper()
	n, err := redis.Int(s.Do(t, cmd, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *server) text(t testing.TB, cmd string, args ...any) string {
	t.Helper()
	text, err := redis.String(s.Do(t, cmd, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (s *server) strings(t testing.TB, cmd string, args ...any) []string {
	t.Helper()
	all, err := redis.Strings(s.Do(t, cmd, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// lines returns the lines of an INFO reply.
func lines(info string) iter.Seq[string] { return strings.SplitSeq(info, "\r\n") }
