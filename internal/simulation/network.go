package simulation

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing/synctest"
	"time"
)

// A Network carries what several nodes and their servers write to each other, one write at a time, in
// an order that its seed decides. It works in a bubble of testing/synctest: a write arrives when
// every goroutine waits for something, and time passes when there is nothing to arrive.
type Network struct {
	serve  func(addr string, nc net.Conn)
	random *rand.Rand
	moved  chan struct{} // has a value when something was put on its way

	mu     sync.Mutex
	silent time.Time // nothing arrives before it
	links  []*link
	nodes  map[string]*node
}

// A node is who dials.
type node struct {
	dead      bool
	cutOff    bool          // nothing arrives, in either direction, and nobody notices
	reachable chan struct{} // closed when cutOff ends
	thawed    chan struct{} // closed when it is frozen no more; nil: it is not frozen
}

// A link is a connection between a node and a server.
type link struct {
	node           string
	toServer, back *stream
	slowUntil      time.Time
}

// New returns a network whose servers are given connections by serve, by the address that was dialed. It must not block.
func New(seed uint64, serve func(addr string, nc net.Conn)) *Network {
	return &Network{
		serve:  serve,
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // it must be repeatable
		moved:  make(chan struct{}, 1),
		nodes:  map[string]*node{},
	}
}

// Random returns the source of all chance. It is for the goroutine that calls Step.
func (n *Network) Random() *rand.Rand { return n.random }

func (n *Network) stir() {
	select {
	case n.moved <- struct{}{}:
	default:
	}
}

func (n *Network) node(name string) *node {
	if n.nodes[name] == nil {
		n.nodes[name] = &node{}
	}
	return n.nodes[name]
}

var errDead = errors.New("simulation: the node is dead")

// Dialer returns what a node connects with.
func (n *Network) Dialer(name string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		for {
			conn, reachable, err := n.dial(name, addr)
			if reachable == nil {
				return conn, err
			}
			select {
			case <-reachable:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// dial connects, or says what to wait for.
func (n *Network) dial(name, addr string) (conn net.Conn, reachable <-chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch node := n.node(name); {
	case node.dead:
		return nil, nil, errDead
	case node.cutOff:
		return nil, node.reachable, nil
	case node.thawed != nil:
		return nil, node.thawed, nil
	default:
		return n.connect(name, addr), nil, nil
	}
}

func (n *Network) connect(name, addr string) net.Conn {
	l := &link{node: name, toServer: newStream(n.stir), back: newStream(n.stir)}
	n.links = append(n.links, l)
	n.serve(addr, &conn{node: name, server: addr, in: l.toServer, out: l.back, deadline: newDeadline()})
	return &conn{node: name, server: addr, in: l.back, out: l.toServer, deadline: newDeadline(), hold: func() bool { return n.Hold(name) }}
}

// Step waits until all goroutines wait, and lets one write arrive, or has its connection be slow
// for a while. If there is none, time passes until there is one, but for at most d.
func (n *Network) Step(d time.Duration) {
	synctest.Wait()
	select {
	case <-n.moved:
	default:
	}
	ready, wait := n.ready(d)
	if len(ready) > 0 {
		if r := ready[n.random.IntN(len(ready))]; n.random.IntN(16) == 0 {
			r.link.slowUntil = time.Now().Add(time.Duration(n.random.IntN(int(maxSlow))))
		} else {
			r.stream.deliver()
		}
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-n.moved:
	case <-timer.C:
	}
}

// maxSlow is for how long a connection is slow at most.
const maxSlow = 200 * time.Millisecond

// arrival is a write that may arrive.
type arrival struct {
	link   *link
	stream *stream
}

// ready returns what may arrive now, and after what time there may be more, but at most d.
func (n *Network) ready(d time.Duration) (arrivals []arrival, wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if silence := time.Until(n.silent); silence > 0 {
		return nil, min(d, silence)
	}
	open := n.links[:0]
	for _, l := range n.links {
		if l.toServer.over() && l.back.over() {
			continue
		}
		open = append(open, l)
		if n.nodes[l.node].cutOff {
			continue
		}
		slow := time.Until(l.slowUntil)
		for _, s := range []*stream{l.toServer, l.back} {
			switch {
			case !s.waiting():
			case slow > 0:
				d = min(d, slow)
			default:
				arrivals = append(arrivals, arrival{l, s})
			}
		}
	}
	clear(n.links[len(open):])
	n.links = open
	return arrivals, d
}

// Cut breaks one connection of a node, rather one that the server is answering on. What the server
// had sent is lost; what the node had sent is lost, too, or arrives later. It does nothing if the node
// has none.
func (n *Network) Cut(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var its, answering []*link
	for _, l := range n.links {
		if l.node != name || l.back.over() {
			continue
		}
		its = append(its, l)
		if l.back.waiting() {
			answering = append(answering, l)
		}
	}
	if len(answering) > 0 {
		its = answering
	}
	if len(its) > 0 {
		its[n.random.IntN(len(its))].cut(n.random.IntN(2) == 0)
	}
}

// CutAll breaks all connections of a node.
func (n *Network) CutAll(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		if l.node == name {
			l.cut(n.random.IntN(2) == 0)
		}
	}
}

// cut breaks the connection.
func (l *link) cut(arrives bool) {
	if arrives {
		l.toServer.finish(io.EOF)
	} else {
		l.toServer.cut(syscall.ECONNRESET)
	}
	l.back.cut(syscall.ECONNRESET)
}

// Silence has nothing arrive anywhere until then. Nobody notices.
func (n *Network) Silence(until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent = until
}

// CutOff has nothing arrive from and at a node until Reach is called. Its connections stay.
func (n *Network) CutOff(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if node := n.node(name); !node.cutOff {
		node.cutOff, node.reachable = true, make(chan struct{})
	}
}

// Reach ends CutOff. What was written meanwhile arrives now.
func (n *Network) Reach(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if node := n.node(name); node.cutOff {
		node.cutOff = false
		close(node.reachable)
		n.stir()
	}
}

// Freeze has a node stand still until Thaw is called, as when its processor serves others. What was sent to it arrives, and it
// does not read that; it misses its deadlines without knowing; what it writes meanwhile, it writes when it goes on. What
// it does besides must call Hold when it has waited.
func (n *Network) Freeze(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := n.node(name)
	if node.thawed != nil || node.dead {
		return
	}
	node.thawed = make(chan struct{})
	for _, l := range n.links {
		if l.node == name {
			l.toServer.freeze()
		}
	}
}

// Thaw ends Freeze.
func (n *Network) Thaw(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.thaw(name)
}

func (n *Network) thaw(name string) {
	node := n.node(name)
	if node.thawed == nil {
		return
	}
	close(node.thawed)
	node.thawed = nil
	for _, l := range n.links {
		if l.node == name {
			l.toServer.thaw()
		}
	}
	n.stir()
}

// Hold waits while a node is frozen, and tells whether it was.
func (n *Network) Hold(name string) (was bool) {
	for {
		n.mu.Lock()
		thawed := n.node(name).thawed
		n.mu.Unlock()
		if thawed == nil {
			return was
		}
		<-thawed
		was = true
	}
}

// Kill ends a node for all that others can see: what it has sent may still arrive, or be lost with its
// connections, and it sends no more.
func (n *Network) Kill(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := n.node(name)
	node.dead = true
	if node.cutOff {
		node.cutOff = false
		close(node.reachable)
	}
	n.thaw(name)
	for _, l := range n.links {
		if l.node == name {
			l.cut(n.random.IntN(2) == 0)
		}
	}
}
