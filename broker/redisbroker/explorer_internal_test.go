package redisbroker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings/connection"
)

// The explorer takes a few actors, workers and a peer of kombu's, through every order of their commands: it goes from state to
// state, and a state is all that is in Redis and what each actor knows. Workers run the code of this package, on a Redis in memory with its
// real scripts. An actor in the middle of an operation is not kept as a goroutine, but as the answers that it has got so far: to take it one
// command further, the operation is begun anew, hears these answers again, and its next command is done. So any state can be
// gone back to, and an actor that dies there is just not taken further.
//
// Time stands still but for steps of tick. States have times as they are seen from their present.

// tick is how long time passes at once.
const tick = 3 * time.Second

// A step is one command of one actor, or something that it decides, or time that passes.
type step struct {
	name string
	take func(*state) error // changes a copy; the error is a guarantee that is broken
}

// A state is a moment of a history.
type state struct {
	redis  map[string]value
	actors []actor
	ticks  int // how often time may pass yet
	deaths int // how many may die yet

	settled, acked bool // the message: it is done; it is taken, and nobody but who took it will run it
	lapses         int  // how often somebody held it for longer than he may
	runs           int

	path *trail
}

// trail is how a state was reached.
type trail struct {
	before *trail
	step   string
}

func (t *trail) steps() (names []string) {
	for ; t != nil; t = t.before {
		names = append(names, t.step)
	}
	slices.Reverse(names)
	return names
}

// A value is that of a key.
type value struct {
	kind   string
	text   []string           // of a string, list or set; of a hash, fields and values in turn
	scores map[string]float64 // of a sorted set, those that are times less the present
	ttl    time.Duration
}

// times are the sorted sets whose scores are times.
func times(key string) bool { return key == "unacked_index" || strings.HasPrefix(key, "apium.parked.") }

// An answered command is what an operation has heard so far, and how long after what came before.
type answered struct {
	after time.Duration
	reply []byte
}

// clone copies what steps change. What redis, histories and known point to is replaced, never changed.
func (s *state) clone(name string) *state {
	c := *s
	c.actors = slices.Clone(s.actors)
	c.path = &trail{s.path, name}
	return &c
}

// digest is the same for states that cannot be told apart. Marks of what was sent again differ with every run of an operation.
func (s *state) digest() [sha256.Size]byte {
	h := sha256.New()
	writeRedis(h, s.redis)
	fmt.Fprintf(h, "%d %d %t %t %d %d\n", s.ticks, s.deaths, s.settled, s.acked, min(s.lapses, 1), min(s.runs, 1))
	for i := range s.actors {
		s.actors[i].digest(h)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func writeRedis(h io.Writer, redis map[string]value) {
	keys := make([]string, 0, len(redis))
	for key := range redis {
		if !strings.HasPrefix(key, "apium.once.") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		v := redis[key]
		fmt.Fprintf(h, "%s %s %q %d", key, v.kind, v.text, v.ttl.Milliseconds())
		members := make([]string, 0, len(v.scores))
		for member, score := range v.scores {
			members = append(members, fmt.Sprintf("%s %.0f", member, 1000*score))
		}
		slices.Sort(members)
		fmt.Fprintf(h, "%q\n", members)
	}
}

// A machine is the Redis, and the connection of all actors.
type machine struct {
	t       *testing.T
	redis   *miniredis.Miniredis
	server  net.Conn
	answers *bufio.Reader
	pipe    *redisconn.Pipeline
	cfg     *redisconn.Config

	commands chan command
	holding  bool // commands wait to be answered
}

// A command is what an operation asks for, and where it waits for the answer.
type command struct {
	text   []byte
	do     func() []byte // of a peer, in place of text
	answer chan<- []byte
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, redis: miniredis.NewMiniRedis(), commands: make(chan command)}
	first, err := m.redis.Dial() // without one there is no server
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	m.redis.Server().ServeConn(far)
	m.server, m.answers = near, bufio.NewReader(near)
	dialled := false
	dial := func(context.Context, string, string) (net.Conn, error) {
		if dialled {
			return nil, errors.New("there is one connection")
		}
		dialled = true
		near, far := net.Pipe()
		go m.serve(far)
		return near, nil
	}
	cfg, err := redisconn.Parse("redis://redis:6379/0", redisconn.Broker, redisconn.Options{Options: connection.Options{
		Dial: dial, SocketTimeout: -1, HealthCheckInterval: -1,
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.cfg, m.pipe = cfg, redisconn.NewPipeline(cfg, redisconn.PipelineOptions{})
	if _, err := m.pipe.Do(t.Context(), "PING"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.pipe.Close(); near.Close(); first.Close(); m.redis.Close() })
	return m
}

// serve answers the actors' connection.
func (m *machine) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		text, err := readRESP(in)
		if err != nil {
			return
		}
		var reply []byte
		if m.holding {
			answer := make(chan []byte)
			m.commands <- command{text: text, answer: answer}
			reply = <-answer
		} else {
			reply = m.ask(text)
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// ask has Redis do a command.
func (m *machine) ask(text []byte) []byte {
	if _, err := m.server.Write(text); err != nil {
		m.t.Error(err)
		return []byte("-ERR\r\n")
	}
	reply, err := readRESP(m.answers)
	if err != nil {
		m.t.Error(err)
	}
	return reply
}

// readRESP reads one command or answer.
func readRESP(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line[1:])))
	switch line[0] {
	case '$':
		if n >= 0 {
			text := make([]byte, n+2)
			_, err = io.ReadFull(in, text)
			line = append(line, text...)
		}
	case '*':
		for range max(n, 0) {
			part, err := readRESP(in)
			if err != nil {
				return nil, err
			}
			line = append(line, part...)
		}
	}
	return line, err
}

// load brings Redis into a state.
func (m *machine) load(keys map[string]value) {
	m.redis.FlushAll()
	now := float64(time.Now().UnixMicro()) / 1e6
	for key, v := range keys {
		switch v.kind {
		case "string":
			_ = m.redis.Set(key, v.text[0])
		case "list":
			_, _ = m.redis.RPush(key, v.text...)
		case "set":
			_, _ = m.redis.SAdd(key, v.text...)
		case "hash":
			m.redis.HSet(key, v.text...)
		case "zset":
			for member, score := range v.scores {
				if times(key) {
					score += now
				}
				_, _ = m.redis.ZAdd(key, score, member)
			}
		}
		if v.ttl > 0 {
			m.redis.SetTTL(key, v.ttl)
		}
	}
}

// save returns what is in Redis.
func (m *machine) save() map[string]value {
	keys := map[string]value{}
	now := float64(time.Now().UnixMicro()) / 1e6
	for _, key := range m.redis.Keys() {
		v := value{kind: m.redis.Type(key), ttl: m.redis.TTL(key)}
		switch v.kind {
		case "string":
			text, _ := m.redis.Get(key)
			v.text = []string{text}
		case "list":
			v.text, _ = m.redis.List(key)
		case "set":
			v.text, _ = m.redis.Members(key)
		case "hash":
			fields, _ := m.redis.HKeys(key)
			for _, field := range fields {
				v.text = append(v.text, field, m.redis.HGet(key, field))
			}
		case "zset":
			v.scores, _ = m.redis.SortedSet(key)
			for member := range v.scores {
				if times(key) {
					v.scores[member] -= now
				}
			}
		}
		keys[key] = v
	}
	return keys
}

// pass lets time pass.
func (m *machine) pass(d time.Duration) {
	time.Sleep(d)
	m.redis.FastForward(d)
}

// errAborted ends an operation that is taken no further.
var errAborted = []byte("-ERR aborted\r\n")

// tokens are what operations make up, and what stands for them: else no operation would do the same again.
type tokens struct{ made, stands string }

// name replaces the token of a sweep's mutex.
func (n *tokens) name(text []byte) []byte {
	const start = "*6\r\n$3\r\nSET\r\n$13\r\nunacked_mutex\r\n$26\r\n"
	if rest, ok := bytes.CutPrefix(text, []byte(start)); ok {
		n.made = string(rest[:26])
	}
	if n.made == "" {
		return text
	}
	return bytes.ReplaceAll(text, []byte(n.made), fmt.Appendf(nil, "%-26s", n.stands))
}

// further takes an operation one command further. It returns the answer to that, and whether the operation has ended with it.
func (m *machine) further(s *state, a *actor, operation func(context.Context)) (reply []byte, ended bool) {
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	done := make(chan struct{})
	m.holding = true
	defer func() { m.holding = false }()
	go func() { defer close(done); operation(ctx) }()
	next := func() (c command, ended bool) {
		select {
		case c := <-m.commands:
			return c, false
		case <-done:
			return command{}, true
		}
	}
	token := tokens{stands: a.name}
	for _, was := range a.heard {
		c, ended := next()
		if ended {
			m.t.Fatalf("an operation does not do the same again: %q", s.path.steps())
		}
		token.name(c.text)
		time.Sleep(was.after)
		c.answer <- was.reply
	}
	c, ended := next()
	if ended {
		return nil, true // it has found nothing to ask for
	}
	time.Sleep(a.since)
	m.load(s.redis)
	if c.do != nil {
		reply = c.do()
	} else if reply = m.ask(token.name(c.text)); bytes.HasPrefix(reply, []byte("-NOSCRIPT")) {
		c.answer <- reply
		c, _ = next()
		reply = m.ask(c.text)
	}
	s.redis = m.save()
	c.answer <- reply
	for {
		c, over := next()
		if over {
			return reply, ctx.Err() == nil
		}
		cancel()
		c.answer <- errAborted
	}
}

// explored is what came of an exploration.
type explored struct {
	states, transitions int
	broken              error // the first guarantee that is broken
	path                []string
}

// explore goes through all states that can be reached, depth first.
func explore(first *state, steps func(*state) []step, check, end func(*state) error) (e explored) {
	seen := map[[sha256.Size]byte]bool{first.digest(): true}
	open := []*state{first}
	for len(open) > 0 {
		s := open[len(open)-1]
		open = open[:len(open)-1]
		e.states++
		all := steps(s)
		if len(all) == 0 {
			if err := end(s); err != nil {
				e.broken, e.path = err, s.path.steps()
				return e
			}
		}
		for _, next := range all {
			e.transitions++
			after := s.clone(next.name)
			err := next.take(after)
			if err == nil {
				err = check(after)
			}
			if err != nil {
				e.broken, e.path = err, after.path.steps()
				return e
			}
			if d := after.digest(); !seen[d] {
				seen[d] = true
				open = append(open, after)
			}
		}
	}
	return e
}
