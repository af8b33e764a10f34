package redisbroker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
)

func (s *server) management(t *testing.T, cfg redisbroker.Config) *redisbroker.Management {
	t.Helper()
	cfg.URL = s.URL(0)
	m, err := redisbroker.OpenManagement(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func (s *server) push(t *testing.T, list string, n int) {
	t.Helper()
	for i := range n {
		s.Do(t, "LPUSH", list, envelopetest.New(list, fmt.Sprint(list, i), 0))
	}
}

func TestQueuesState(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "p[*]:"} {
		s := newServer(t)
		m := s.management(t, redisbroker.Config{GlobalKeyprefix: prefix})
		w := s.open(t, redisbroker.Config{GlobalKeyprefix: prefix, Queues: append(broker.Named("a", "b"), fanout("bcast"))})
		s.push(t, prefix+"a", 5)
		ds, err := w.Claim(t.Context(), 5)
		for err == nil && len(ds) < 5 {
			var more []broker.Delivery
			more, err = w.Claim(t.Context(), 5-len(ds))
			ds = append(ds, more...)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Park(t.Context(), broker.Parked{Delivery: ds[0], Due: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if err := w.Bury(t.Context(), broker.DeadLetter{Delivery: ds[1], Reason: "x", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		s.push(t, prefix+"c\x06\x163", 2)
		s.push(t, prefix+"c", 1)
		s.push(t, prefix+"apium.fanout."+w.ID()+".bcast\x06\x169", 1)
		// What Python workers have claimed: by queue, by exchange, by an exchange without bindings, and in an odd way.
		s.Do(t, "SADD", prefix+"_kombu.binding.routed", "k\x06\x16\x06\x16d", "k\x06\x16\x06\x16e")
		for i, tail := range []string{`"", "a"]`, `"routed", "k"]`, `"gone", "f"]`, `null, "g"]`, `"", "q\"q"]`} {
			s.Do(t, "HSET", prefix+"unacked", fmt.Sprint("python", i), `[{"body": "x"}, `+tail)
		}
		s.Do(t, "SADD", prefix+"_kombu.binding.celery.pidbox", "\x06\x16\x06\x16w@h.celery.pidbox")
		s.Do(t, "SADD", prefix+"_kombu.binding.celeryev", "#\x06\x16\x06\x16celeryev.1")
		got, err := m.Queues(t.Context(), []string{"known"}, []string{"celeryev"})
		if err != nil {
			t.Fatal(err)
		}
		want := []redisbroker.QueueState{
			{Name: "", Ready: []int{0, 0, 0, 0}, Unacked: 1},
			{Name: "a", Ready: []int{0, 0, 0, 0}, Unacked: 4, Parked: 1, Dead: 1},
			{Name: "b", Ready: []int{0, 0, 0, 0}},
			{Name: "bcast", Ready: []int{0, 0, 0, 1}},
			{Name: "d", Ready: []int{0, 0, 0, 0}, Unacked: 1},
			{Name: "e", Ready: []int{0, 0, 0, 0}},
			{Name: "f", Ready: []int{0, 0, 0, 0}, Unacked: 1},
			{Name: "g", Ready: []int{0, 0, 0, 0}, Unacked: 1},
			{Name: "known", Ready: []int{0, 0, 0, 0}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("prefix %q (-want +got):\n%s", prefix, diff)
		}
		got, err = m.Queues(t.Context(), []string{"c"}, nil)
		if err != nil || !contains(got, redisbroker.QueueState{Name: "c", Ready: []int{1, 2, 0, 0}}) || !contains(got, redisbroker.QueueState{Name: "celeryev.1", Ready: []int{0, 0, 0, 0}}) {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func contains(states []redisbroker.QueueState, want redisbroker.QueueState) bool {
	for _, s := range states {
		if cmp.Equal(s, want) {
			return true
		}
	}
	return false
}

// More records than one look at a hash shows.
func TestManyUnacked(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	args := []any{"unacked"}
	for i := range 5000 {
		args = append(args, fmt.Sprint(i), fmt.Sprintf(`[{}, "", "q%d"]`, i%2))
	}
	s.Do(t, "HMSET", args...)
	got, err := s.management(t, redisbroker.Config{}).Queues(t.Context(), nil, nil)
	if err != nil || len(got) != 2 || got[0].Unacked != 2500 || got[1].Unacked != 2500 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := s.management(t, redisbroker.Config{})
	s.push(t, "q", 2)
	s.push(t, "q\x06\x163", 1)
	s.push(t, "q\x06\x169", 3)
	s.push(t, "other", 1)
	for _, want := range []int{6, 0} {
		if n, err := m.Purge(t.Context(), "q"); n != want || err != nil {
			t.Errorf("purged %d, %v; want %d", n, err, want)
		}
	}
	if keys := fmt.Sprintf("%s", s.Do(t, "KEYS", "*")); keys != "[other]" {
		t.Errorf("left: %s", keys)
	}
	s.Do(t, "SET", "text", "x")
	if _, err := m.Purge(t.Context(), "text"); err == nil {
		t.Error("a key that is no list was purged")
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := s.management(t, redisbroker.Config{})
	s.open(t, redisbroker.Config{Queues: []broker.Queue{
		{Name: "b"}, {Name: "a", Exchange: "topics", ExchangeType: broker.Topic, RoutingKey: "x.#"}, {Name: "c", Exchange: "topics", ExchangeType: broker.Topic, RoutingKey: "y"},
	}})
	exchanges, err := m.Exchanges(t.Context())
	if diff := cmp.Diff([]string{"b", "topics"}, exchanges); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	s.Do(t, "SADD", "_kombu.binding.topics", "rubbish")
	got, err := m.Bindings(t.Context(), "topics")
	want := []broker.Binding{{RoutingKey: "x.#", Pattern: `^x\..*?$`, Queue: "a"}, {RoutingKey: "y", Pattern: "^y$", Queue: "c"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := m.Bindings(t.Context(), "nosuch"); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// A process that is killed while it waits for replies leaves its binding behind: kombu
// sweeps tables by their deadlines, and one that lives on is not shortened.
func TestAwaitReplies(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	q := broker.Queue{Name: "1.reply.celery.pidbox", Exchange: "reply.celery.pidbox", RoutingKey: "1"}
	other := broker.Queue{Name: "2.reply.celery.pidbox", Exchange: "reply.celery.pidbox", RoutingKey: "2"}
	first, err := p.AwaitReplies(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var deadline float64
	fmt.Sscan(fmt.Sprintf("%s", s.Do(t, "ZSCORE", "_kombu.binding_deadlines", q.Exchange)), &deadline)
	if in := time.Until(time.UnixMilli(int64(deadline))); in < 50*time.Minute || in > time.Hour {
		t.Errorf("swept in %v", in)
	}
	s.Do(t, "ZADD", "_kombu.binding_deadlines", "9e12", q.Exchange)
	second, err := p.AwaitReplies(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []broker.Queue{q, other, q} {
		delivered, err := p.Reply(t.Context(), broker.Publication{Exchange: q.Exchange, RoutingKey: to.RoutingKey, Message: brokertest.Message(to.Name, 0)}, time.Minute)
		if !delivered || err != nil {
			t.Fatal(delivered, err)
		}
	}
	if reply, err := first.Next(t.Context()); err != nil || string(envelopetest.Open(reply.Raw).CorrelationID) != q.Name {
		t.Errorf("%s, %v", reply.Raw, err)
	}
	if err := first.Close(t.Context()); err != nil { // with a reply that nobody has read
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s", s.Do(t, "ZSCORE", "_kombu.binding_deadlines", q.Exchange)); got != "9000000000000" {
		t.Errorf("deadline %s", got)
	}
	if reply, err := second.Next(t.Context()); err != nil || string(envelopetest.Open(reply.Raw).CorrelationID) != other.Name {
		t.Errorf("%s, %v", reply.Raw, err)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if keys := fmt.Sprintf("%s", s.Do(t, "KEYS", "*")); keys != "[]" {
		t.Errorf("left in Redis: %s", keys)
	}
}

// TestUnpark: what is parked comes back to its queue, behind what waits there, in the order in
// which it is due, and nothing else is touched.
func TestUnpark(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := s.management(t, redisbroker.Config{GlobalKeyprefix: "p:"})
	w := s.open(t, redisbroker.Config{GlobalKeyprefix: "p:", Hostname: "w@h", Queues: broker.Named("q", "other")})
	const n = 130 // more than one batch
	for i := range n {
		s.Do(t, "LPUSH", "p:q", envelopetest.New("q", fmt.Sprint(i), 0))
	}
	s.Do(t, "LPUSH", "p:q\x06\x163", envelopetest.New("q", "urgent", 4))
	for parked := 0; parked < n+1; {
		ds, err := w.Claim(t.Context(), 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			due := time.Now().Add(time.Hour - time.Duration(parked)*time.Second) // the last is due first
			if _, err := w.Park(t.Context(), broker.Parked{Delivery: d, Due: due}); err != nil {
				t.Fatal(err)
			}
			parked++
		}
	}
	s.Do(t, "ZADD", "p:apium.parked.q", 1, "apium.parked:gone")
	if names, err := m.Consumers(t.Context(), "q"); err != nil || cmp.Diff([]string{"w@h"}, names) != "" {
		t.Errorf("consumers %v, %v", names, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if names, err := m.Consumers(t.Context(), "q"); err != nil || len(names) != 0 {
		t.Errorf("consumers %v, %v", names, err)
	}
	s.Do(t, "LPUSH", "p:q", "waits")
	s.Do(t, "HSET", "p:unacked", "python", `[{},"","q"]`)
	if queues, err := m.ParkedQueues(t.Context()); err != nil || cmp.Diff([]string{"q"}, queues) != "" {
		t.Errorf("queues %v, %v", queues, err)
	}
	if got, err := m.Unpark(t.Context(), "q"); got != n+1 || err != nil {
		t.Fatalf("unparked %d, %v", got, err)
	}
	list := s.strings(t, "LRANGE", "p:q", 0, -1)
	if len(list) != n+1 || list[n] != "waits" || list[n-1] != string(envelopetest.New("q", fmt.Sprint(n-1), 0)) ||
		list[0] != string(envelopetest.New("q", "0", 0)) {
		t.Errorf("%d messages, the first %s, the last %s", len(list), list[n-1], list[0])
	}
	want := []string{"p:q", "p:q\x06\x163", "p:unacked"}
	keys := slices.DeleteFunc(s.strings(t, "KEYS", "p:*"), func(key string) bool { return strings.HasPrefix(key, "p:_kombu") })
	slices.Sort(keys)
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if left := s.strings(t, "HKEYS", "p:unacked"); len(left) != 1 {
		t.Errorf("unacked %v", left)
	}
}
