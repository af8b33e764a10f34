package redisbroker_test

import (
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
)

// chord is one of one part, which was counted by who has claimed it.
type chord struct {
	results *redisbackend.Backend
	claim   backend.ChordClaim
}

const chordKey = "celery-taskset-meta-g"

func (s *server) chord(t *testing.T, url string) chord {
	t.Helper()
	results, err := redisbackend.New(redisbackend.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { results.Close() })
	if err := results.SetSize(t.Context(), "g", 1); err != nil {
		t.Fatal(err)
	}
	counts, err := results.Count(t.Context(), backend.ChordPart{GroupID: "g", TaskID: "t", State: "SUCCESS", Result: []byte("1")})
	if err != nil || counts[0].State != backend.ChordComplete {
		t.Fatal(counts, err)
	}
	return chord{results, counts[0].Claim}
}

// TestChordEndsWithItsBody: the body of a chord is published by who has the chord, or if nobody has and it is open, and ends it; whoever else
// is late neither publishes it nor ends anything. What is published along with it is, whatever becomes of the body.
func TestChordEndsWithItsBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before    func(t *testing.T, s *server)
		published bool
		claim     string // afterwards, or the key's type
	}{
		"claimed":          {func(*testing.T, *server) {}, true, "done"},
		"the claim is out": {func(t *testing.T, s *server) { t.Helper(); s.Do(t, "DEL", chordKey+".a") }, true, "done"},
		"claimed by another": {func(t *testing.T, s *server) {
			t.Helper()
			s.Do(t, "SET", chordKey+".a", "another")
		}, false, "none"},
		"claimed with Celery's code": {func(t *testing.T, s *server) {
			t.Helper()
			s.Do(t, "SET", chordKey+".c", "another")
		}, false, "another"},
		"ended": {func(t *testing.T, s *server) {
			t.Helper()
			s.Do(t, "DEL", chordKey+".j", chordKey+".s", chordKey+".d")
			s.Do(t, "SET", chordKey+".c", "done")
		}, false, "done"},
		"ended long ago": {func(t *testing.T, s *server) {
			t.Helper()
			s.Do(t, "DEL", chordKey+".j", chordKey+".s", chordKey+".d", chordKey+".a")
		}, false, "none"},
		"no claim": {func(t *testing.T, s *server) {
			t.Helper()
			s.Do(t, "HSET", chordKey+".c", "some", "thing")
		}, false, "hash"},
	} {
		for how, send := range map[string]func(t *testing.T, s *server, messages ...broker.Publication) error{
			"published": func(t *testing.T, s *server, messages ...broker.Publication) error {
				t.Helper()
				return s.publisher(t).Publish(t.Context(), messages...)
			},
			"with an acknowledgement": func(t *testing.T, s *server, messages ...broker.Publication) error {
				t.Helper()
				consumer := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
				s.publish(t, 1)
				ds, err := consumer.Claim(t.Context(), 1)
				if err != nil {
					t.Fatal(err)
				}
				lost, err := consumer.Concluder(s.publisher(t)).Conclude(t.Context(), broker.Conclusion{Tag: ds[0].Tag, Publish: messages})
				if len(lost) > 0 || s.int(t, "HLEN", "unacked") > 0 {
					t.Error("it is not acknowledged")
				}
				return err
			},
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				chord := s.chord(t, s.URL(0))
				c.before(t, s)
				end := chord.results.EndOf(chord.claim)
				if err := send(t, s, broker.Publication{RoutingKey: "body", Message: brokertest.Message("1", 0), Ends: end},
					broker.Publication{RoutingKey: "beside", Message: brokertest.Message("2", 0)}); err != nil {
					t.Fatal(err)
				}
				if got := s.int(t, "LLEN", "body") == 1; got != c.published {
					t.Errorf("the body is published: %v", got)
				}
				if n := s.int(t, "LLEN", "beside"); n != 1 {
					t.Errorf("%d messages beside it", n)
				}
				claim := c.claim
				if claim != "none" && claim != "hash" {
					claim = s.text(t, "GET", chordKey+".c")
				} else {
					claim = s.text(t, "TYPE", chordKey+".c")
				}
				if left := s.strings(t, "KEYS", chordKey+".[jtsd]"); claim != c.claim || c.published && len(left) > 0 {
					t.Errorf("the claim is %q, %q are left", claim, left)
				}
				if c.published {
					if err := chord.results.Finish(t.Context(), chord.claim, false); err == nil {
						t.Error("it is not finished")
					}
					if s.int(t, "TTL", chordKey+".c") < 200 {
						t.Error("late parts are not turned away for long")
					}
				}
			})
		}
	}
}

// TestEndsChord: only what is in the publisher's own database can be ended by it.
func TestEndsChord(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := broker.PublisherAbilitiesOf(s.publisher(t)).ChordEnder
	for db, can := range []bool{true, false} {
		chord := s.chord(t, s.URL(db))
		if got := p.EndsChord(chord.results.EndOf(chord.claim)); got != can {
			t.Errorf("database %d: %v", db, got)
		}
	}
	if p.EndsChord(nil) {
		t.Error("nothing is ended")
	}
}

// TestEndedOnce: when the answer is lost, the body is published once, and the chord is not left open.
func TestEndedOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p, faults := s.faultyPublisher(t)
	publish(t, p, message("before"))
	chord := s.chord(t, s.URL(0))
	faults.LoseAnswers(`"body"`, 2)
	body := message("body")
	body.Ends = chord.results.EndOf(chord.claim)
	publish(t, p, body)
	if n := s.int(t, "LLEN", "q"); n != 2 || faults.Left() != 0 || s.text(t, "GET", chordKey+".c") != "done" {
		t.Errorf("%d messages, %d answers not lost", n, faults.Left())
	}
}

// TestEndsWithSeveral: a body of several tasks is published whole, however large, or not at all, and what comes after it is published in
// either case. Its chord may be followed by another one's body.
func TestEndsWithSeveral(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claim string // "": that of who publishes
		want  []int  // messages of the body, and after it
	}{"claimed": {"", []int{3, 2}}, "claimed by another": {"another", []int{0, 2}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			chord := s.chord(t, s.URL(0))
			if c.claim != "" {
				s.Do(t, "SET", chordKey+".c", c.claim)
			}
			of := func(queue string, end any) broker.Publication {
				m := brokertest.Message("1", 0)
				m.Body = make([]byte, 7<<20)
				return broker.Publication{RoutingKey: queue, Message: m, Ends: end}
			}
			end, ended := chord.results.EndOf(chord.claim), chord.results.EndOf(backend.ChordClaim{GroupID: "ended", Token: "t"})
			if err := s.publisher(t).Publish(t.Context(), of("body", end), of("body", end), of("body", end), of("ended", ended), of("after", nil), of("after", nil)); err != nil {
				t.Fatal(err)
			}
			for i, queue := range []string{"body", "after"} {
				if n := s.int(t, "LLEN", queue); n != c.want[i] {
					t.Errorf("%d messages in %s, want %d", n, queue, c.want[i])
				}
			}
			if n := s.int(t, "LLEN", "ended"); n > 0 {
				t.Error("a body of a chord that had ended is published")
			}
		})
	}
}
