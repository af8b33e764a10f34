package explorer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A Machine is a Redis, and what stands between it and the actors.
type Machine struct {
	Redis *miniredis.Miniredis
	// Cut is taken out of the scripts that are sent: for tests which see that a model finds that something is missing. "": nothing.
	Cut string

	t     *testing.T
	timed func(key string) bool

	asking  sync.Mutex
	server  net.Conn
	answers *bufio.Reader

	commands  chan command
	connected atomic.Bool
	holding   atomic.Bool // commands wait to be answered
	broken    bool        // the actors' connection was, since they could last make another in peace
}

// A command is what an operation asks for, and where it waits for the answer. nil breaks the connection.
type command struct {
	text   []byte
	do     func() []byte // of a peer, in place of text
	answer chan<- []byte
}

// NewMachine returns a machine whose Redis is empty. timed tells the sorted sets whose scores are times, in seconds. All that connects with
// Dial must be closed before the test ends.
func NewMachine(t *testing.T, timed func(key string) bool) *Machine {
	t.Helper()
	m := &Machine{t: t, Redis: miniredis.NewMiniRedis(), timed: timed, commands: make(chan command), broken: true}
	first, err := m.Redis.Dial() // without one there is no server
	if err != nil {
		t.Fatal(err)
	}
	was := debug.SetGCPercent(400) // the Lua of each command makes much that is gone at once
	t.Cleanup(func() { debug.SetGCPercent(was) })
	near, far := net.Pipe()
	m.Redis.Server().ServeConn(far)
	m.server, m.answers = near, bufio.NewReader(near)
	t.Cleanup(func() { near.Close(); first.Close(); m.Redis.Close() })
	return m
}

var errConnected = errors.New("there is a connection")

// Dial connects the actors. There is one connection for all of them, and another one when that has broken: nobody who finds the server
// silent is to learn that it answers others.
func (m *Machine) Dial(context.Context, string, string) (net.Conn, error) {
	if m.connected.Swap(true) {
		return nil, errConnected
	}
	near, far := net.Pipe()
	go m.serve(far)
	return near, nil
}

// serve answers an actor's connection.
func (m *Machine) serve(conn net.Conn) {
	defer conn.Close()
	defer m.connected.Store(false)
	in := bufio.NewReader(conn)
	for {
		text, err := readRESP(in)
		if err != nil {
			return
		}
		var reply []byte
		switch {
		case bytes.Contains(text, []byte("\r\nPING\r\n")):
			reply = []byte("+PONG\r\n")
		case bytes.Contains(text, []byte("\r\nCLIENT\r\n")):
			reply = []byte("+OK\r\n")
		case m.holding.Load():
			answer := make(chan []byte)
			m.commands <- command{text: text, answer: answer}
			reply = <-answer
		default:
			reply = m.ask(text)
		}
		if reply == nil {
			return
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// ask has Redis do a command.
func (m *Machine) ask(text []byte) []byte {
	m.asking.Lock()
	defer m.asking.Unlock()
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

// Do is a command of who does not connect: it changes Redis itself, in one step, and says what the answer is. What begins with
// "-" is an error, as in Redis, and all that is answered when the operation is taken no further; ok tells that it is none.
func (m *Machine) Do(what func() string) (reply string, ok bool) {
	answer := make(chan []byte)
	m.commands <- command{do: func() []byte { return []byte(what()) }, answer: answer}
	got := <-answer
	return string(got), len(got) > 0 && got[0] != '-'
}

// aborted ends an operation that is taken no further.
var aborted = []byte("-ERR aborted\r\n")

// long is how long an operation waits that waits for something to become of the world, and not just to connect again.
const long = 500 * time.Millisecond

// Names are what stands for what an operation makes up: else no operation would do the same again.
type Names struct {
	Find  func(command []byte) []byte // returns what is made up in a command, or nil
	Stand string                      // for the first of them; those after it have a number
	made  [][]byte
}

// replace gives made up things their names, which are as long.
func (n *Names) replace(text []byte) []byte {
	if n.Find == nil {
		return text
	}
	if made := n.Find(text); made != nil && !slices.ContainsFunc(n.made, func(known []byte) bool { return bytes.Equal(known, made) }) {
		n.made = append(n.made, bytes.Clone(made))
	}
	for i, made := range n.made {
		name := n.Stand + "." + strconv.Itoa(i)
		text = bytes.ReplaceAll(text, made, append([]byte(name), bytes.Repeat([]byte("."), len(made)-len(name))...))
	}
	return text
}

// Arrive has a command be done that was late.
func (m *Machine) Arrive(redis Redis, s *Straggler) (after Redis, reply []byte) {
	m.Load(redis)
	reply = m.ask(s.at(time.Now()))
	return m.Save(), reply
}

// Further takes an operation one command further, from a state of Redis and what it has heard so far.
func (m *Machine) Further(redis Redis, h History, names Names, fate Fate, operation func(context.Context)) Taken {
	if m.broken { // whatever connects does so again, and for so long that it does not hesitate when that breaks
		time.Sleep(20 * time.Second)
		m.broken = false
	}
	ctx, cancel := context.WithCancel(m.t.Context())
	defer cancel()
	done := make(chan struct{})
	m.holding.Store(true)
	defer m.holding.Store(false)
	go func() { defer close(done); operation(ctx) }()
	next := func() (c command, waited time.Duration, ended bool) {
		began := time.Now()
		select {
		case c := <-m.commands:
			return c, time.Since(began), false
		case <-done:
			return command{}, 0, true
		}
	}
	for _, was := range h.answers {
		c, waited, ended := next()
		if ended {
			m.t.Fatal("an operation does not do the same again")
		}
		names.replace(c.text)
		time.Sleep(was.after - waited)
		m.answer(c, was.reply)
	}
	c, waited, ended := next()
	switch {
	case ended:
		return Taken{Redis: redis, Ended: true} // it has found nothing to ask for
	case waited >= long && h.since < waited:
		m.end(cancel, c, next)
		h.waits = waited
		return Taken{Redis: redis, History: h}
	}
	time.Sleep(h.since - waited)
	taken, c := m.done(redis, &h, c, &names, next)
	reply := taken.Reply
	switch fate {
	case Heard:
	case Late:
		taken = Taken{Redis: redis, Late: Straggler{text: names.replace(c.text), made: time.Now()}}
		reply = nil
	case Unheard:
		reply = nil
	case Slow:
		m.end(cancel, c, next)
		taken.History, taken.History.coming = h, reply
		return taken
	}
	m.answer(c, reply)
	if c, _, ended = next(); ended {
		taken.Ended = true
		return taken
	}
	m.end(cancel, c, next)
	taken.History = History{answers: append(h.answers[:len(h.answers):len(h.answers)], answer{h.since, reply})}
	return taken
}

// done does a command, unless that is done and only its answer is to come.
func (m *Machine) done(redis Redis, h *History, c command, names *Names, next func() (command, time.Duration, bool)) (taken Taken, last command) {
	if h.coming != nil {
		return Taken{Redis: redis, Reply: h.coming}, c
	}
	m.Load(redis)
	reply, c := m.run(c, names, next)
	return Taken{Redis: m.Save(), Reply: reply}, c
}

// run has Redis do a command, and by its text the script that it may not know yet.
func (m *Machine) run(c command, names *Names, next func() (command, time.Duration, bool)) (reply []byte, last command) {
	if c.do != nil {
		return c.do(), c
	}
	reply = m.ask(names.replace(c.text))
	if bytes.HasPrefix(reply, []byte("-NOSCRIPT")) {
		c.answer <- reply
		c, _, _ = next()
		reply = m.ask(m.without(names.replace(c.text)))
	}
	return reply, c
}

// without cuts out of a script what is to be missing. Its length must not change.
func (m *Machine) without(text []byte) []byte {
	if m.Cut == "" {
		return text
	}
	return bytes.ReplaceAll(text, []byte(m.Cut), bytes.Repeat([]byte{' '}, len(m.Cut)))
}

// answer answers a command, or breaks its connection.
func (m *Machine) answer(c command, reply []byte) {
	if reply == nil {
		m.broken = true
	}
	c.answer <- reply
}

// end ends an operation that has asked for a command.
func (m *Machine) end(cancel context.CancelFunc, c command, next func() (command, time.Duration, bool)) {
	for ended := false; !ended; c, _, ended = next() {
		cancel()
		c.answer <- aborted
	}
}
