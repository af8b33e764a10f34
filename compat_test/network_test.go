package compat_test

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// network is what lies between workers and a server. It passes everything on until it is told otherwise.
type network struct {
	listener net.Listener
	to       string

	mu      sync.Mutex
	pairs   map[*pair]bool
	refuses bool          // new connections are closed at once
	hole    bool          // whatever is sent vanishes; nobody is told
	delay   time.Duration // of each piece
	spoil   func(p *pair, answer []byte) (pass []byte, goesOn bool)
}

// pair is one connection through the network.
type pair struct {
	near, far net.Conn // the client's and the server's
	lost      bool     // what is sent vanishes for ever
}

func newNetwork(t *testing.T, to string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{listener: l, to: to, pairs: map[*pair]bool{}}
	t.Cleanup(func() { l.Close(); n.cut() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go n.join(near)
		}
	}()
	return n
}

func (n *network) addr() string { return n.listener.Addr().String() }

// join connects a client with the server, or not if that does not listen.
func (n *network) join(near net.Conn) {
	n.mu.Lock()
	refuses, hole := n.refuses, n.hole
	n.mu.Unlock()
	if refuses {
		near.Close()
		return
	}
	p := &pair{near: near, lost: hole}
	var err error
	if p.far, err = net.Dial("tcp", n.to); err != nil {
		near.Close()
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pairs[p] = true
	go n.pump(p, near, p.far, false)
	go n.pump(p, p.far, near, true)
}

func (n *network) pump(p *pair, from, to net.Conn, answers bool) {
	end := func() {
		p.near.Close()
		p.far.Close()
		n.mu.Lock()
		delete(n.pairs, p)
		n.mu.Unlock()
	}
	buffer := make([]byte, 32<<10)
	for {
		size, err := from.Read(buffer)
		if err != nil {
			end()
			return
		}
		pass, goesOn := n.passes(p, buffer[:size], answers)
		if len(pass) > 0 {
			if _, err := to.Write(pass); err != nil {
				return // what it had said before it ended is still passed on, as a network does
			}
		}
		if !goesOn {
			end()
			return
		}
	}
}

// passes tells what is passed on of what has come, and whether the connection lives on.
func (n *network) passes(p *pair, piece []byte, answer bool) (pass []byte, goesOn bool) {
	n.mu.Lock()
	delay, spoil := n.delay, n.spoil
	p.lost = p.lost || n.hole
	if answer && spoil != nil && !p.lost {
		n.spoil = nil // one answer
	} else {
		spoil = nil
	}
	lost := p.lost
	n.mu.Unlock()
	switch {
	case lost:
		return nil, true
	case spoil != nil:
		return spoil(p, piece)
	}
	time.Sleep(delay)
	return piece, true
}

// each does something with every connection that there is.
func (n *network) each(do func(*pair)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.pairs {
		do(p)
	}
}

// cut closes all connections.
func (n *network) cut() {
	n.each(func(p *pair) { p.near.Close(); p.far.Close() })
}

// reset breaks all connections, so that both sides hear of it by RST.
func (n *network) reset() {
	n.each(func(p *pair) {
		for _, conn := range []net.Conn{p.near, p.far} {
			_ = conn.(*net.TCPConn).SetLinger(0) // it is closed at once
			conn.Close()
		}
	})
}

// halfClose ends what the server says to each client, which may still talk.
func (n *network) halfClose() {
	n.each(func(p *pair) { _ = p.near.(*net.TCPConn).CloseWrite() })
}

// vanish has all connections be dead, without telling anybody. New ones work.
func (n *network) vanish() { n.each(func(p *pair) { p.lost = true }) }

// set changes how connections are treated from now on.
func (n *network) set(change func(n *network)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// truncate passes on half of the next answer, and cuts the connection there.
func (n *network) truncate() {
	n.set(func(n *network) {
		n.spoil = func(_ *pair, answer []byte) ([]byte, bool) { return answer[:len(answer)/2], false }
	})
}

// garble makes the next answer one that means nothing.
func (n *network) garble() {
	n.set(func(n *network) {
		n.spoil = func(_ *pair, answer []byte) ([]byte, bool) { return bytes.Repeat([]byte{0xff}, len(answer)), true }
	})
}

// spoiled tells whether the answer that was to be spoiled has been.
func (n *network) spoiled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.spoil == nil
}
