package rabbitmemory

import (
	"bufio"
	"io"
	"net"
	"slices"
	"time"
)

// Classes, and the methods that are known.
const (
	basic = 60
)

var (
	connectionStart   = named(10, 10)
	connectionStartOK = named(10, 11)
	connectionTune    = named(10, 30)
	connectionTuneOK  = named(10, 31)
	connectionOpen    = named(10, 40)
	connectionOpenOK  = named(10, 41)
	connectionClose   = named(10, 50)
	connectionCloseOK = named(10, 51)
	channelOpen       = named(20, 10)
	channelOpenOK     = named(20, 11)
	channelClose      = named(20, 40)
	channelCloseOK    = named(20, 41)
)

// channelMax is RabbitMQ's default.
const channelMax = 2047

// connection is one that was accepted. All but nc is guarded by Server.mu.
type connection struct {
	s       *Server
	nc      net.Conn
	name    string
	over    chan struct{} // closed when it is over
	written chan struct{} // closed when nothing is written any more

	channels  map[uint16]*channel
	out       [][]byte      // what is to be written, one write each
	more      chan struct{} // token: there is more to be written
	closing   bool          // the client is told that it ends
	ended     bool
	heard     time.Time
	said      time.Time
	heartbeat time.Duration
}

func newConnection(s *Server, nc net.Conn) *connection {
	return &connection{
		s: s, nc: nc, over: make(chan struct{}), written: make(chan struct{}), channels: map[uint16]*channel{}, more: make(chan struct{}, 1),
	}
}

// send has something written. s.mu is held.
func (c *connection) send(frames []byte) {
	if c.ended {
		return
	}
	c.out = append(c.out, frames)
	c.said = time.Now()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *connection) call(channel uint16, m call) { c.send(appendFrame(nil, methodFrame, channel, m)) }

// write writes until the connection is over.
func (c *connection) write() {
	defer close(c.written)
	defer c.nc.Close()
	for over := false; ; {
		c.s.mu.Lock()
		out := c.out
		c.out = nil
		c.s.mu.Unlock()
		for _, frames := range out {
			if _, err := c.nc.Write(frames); err != nil {
				return
			}
		}
		switch {
		case len(out) > 0:
			continue
		case over:
			return
		}
		select {
		case <-c.more:
		case <-c.over:
			over = true // what was said last is still written
		}
	}
}

// read does what the client asks for, until the connection is over.
func (c *connection) read() {
	defer close(c.over)
	in := bufio.NewReader(c.nc)
	greeting := make([]byte, 8)
	if _, err := io.ReadFull(in, greeting); err == nil {
		c.greet()
		for {
			f, err := readFrame(in)
			if err != nil {
				break
			}
			if !c.take(f) {
				break
			}
		}
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.end(false)
}

func (c *connection) greet() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	capabilities := table{
		{"publisher_confirms", truth(true)},
		{"exchange_exchange_bindings", truth(true)},
		{"basic.nack", truth(true)},
		{"consumer_cancel_notify", truth(true)},
		{"connection.blocked", truth(true)},
		{"authentication_failure_close", truth(true)},
		{"per_consumer_qos", truth(true)},
		{"direct_reply_to", truth(false)},
	}
	about := table{{"product", text("RabbitMQ")}, {"version", text("memory")}, {"capabilities", tableValue(capabilities)}}
	c.call(0, newCall(connectionStart).octet(0).octet(9).longText(about.bytes()).longText([]byte("PLAIN AMQPLAIN")).longText([]byte("en_US")))
}

// take does what a frame asks for, and tells whether there may be another one.
func (c *connection) take(f frame) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.heard = time.Now()
	if c.ended {
		return false
	}
	switch {
	case f.kind == heartbeatFrame:
		return true
	case f.channel > 0:
		return c.takeChannel(f)
	case f.kind != methodFrame || len(f.payload) < 4:
		return false
	}
	a := arguments{f.payload}
	switch m := method(a.long()); m {
	case connectionStartOK:
		c.name = a.table().text("connection_name")
		c.call(0, newCall(connectionTune).short(channelMax).long(frameMax).short(uint16(c.s.opts.Heartbeat/time.Second))) //nolint:gosec // it fits
	case connectionTuneOK:
		a.short()
		a.long()
		c.heartbeat = time.Duration(a.short()) * time.Second
		c.said = time.Now()
		c.watch(0)
	case connectionOpen:
		c.call(0, newCall(connectionOpenOK).octet(0))
	case connectionClose:
		c.call(0, newCall(connectionCloseOK))
		c.end(true)
		return false
	case connectionCloseOK:
		return false
	default:
		c.close(refuse(notImplemented, "NOT_IMPLEMENTED - connection method %d", m))
	}
	return true
}

func (c *connection) takeChannel(f frame) bool {
	ch := c.channels[f.channel]
	if ch == nil {
		a := arguments{f.payload}
		switch {
		case c.closing:
		case f.kind == methodFrame && method(a.long()) == channelOpen:
			ch := newChannel(c, f.channel)
			c.channels[f.channel] = ch
			ch.send(newCall(channelOpenOK).long(0))
		default:
			c.close(refuse(504, "CHANNEL_ERROR - expected 'channel.open'"))
		}
		return true
	}
	if c.closing {
		return true
	}
	if why := ch.take(f); why != nil && why.hard {
		c.close(why)
	} else if why != nil {
		ch.refuse(why)
	}
	return true
}

// close tells the client that the connection ends.
func (c *connection) close(why *refusal) {
	if !c.closing {
		c.closing = true
		c.endChannels(false)
		c.call(0, newCall(connectionClose).short(why.code).text(why.text).short(0).short(0))
	}
}

// watch sends heartbeats, and ends the connection when the client was not heard of for two intervals.
func (c *connection) watch(silent int) {
	if c.heartbeat == 0 || c.ended {
		return
	}
	at := time.Now()
	c.s.after(c.heartbeat/2, func() {
		if c.ended {
			return
		}
		if !c.said.After(at) {
			c.send(appendFrame(nil, heartbeatFrame, 0, nil))
		}
		if silent++; c.heard.After(at) {
			silent = 0
		}
		if silent >= 4 {
			c.end(false)
			c.nc.Close()
			return
		}
		c.watch(silent)
	})
}

// end gives back all that the connection held, and deletes what was its alone. closed: the client has closed it.
func (c *connection) end(closed bool) {
	if c.ended {
		return
	}
	c.ended = true
	c.endChannels(closed)
	delete(c.s.connections, c)
	for _, q := range c.s.sorted() {
		if q.owner == c {
			c.s.remove(q)
		}
	}
}

func (c *connection) endChannels(closed bool) {
	for _, n := range sortedKeys(c.channels) {
		c.channels[n].end(closed)
	}
	clear(c.channels)
}

// sorted are all queues, in an order that is always the same.
func (s *Server) sorted() (all []*queue) {
	for _, name := range sortedKeys(s.queues) {
		all = append(all, s.queues[name])
	}
	return all
}

func sortedKeys[K ~string | ~uint16, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
