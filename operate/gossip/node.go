package gossip

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
)

const (
	lookAfter   = 5 * time.Second // how often lost workers are looked for
	defaultFreq = 60              // seconds between the heartbeats of a worker that does not say
	window      = 2               // heartbeats after which a silent worker is lost
)

// Clock is the worker's logical clock.
type Clock interface {
	Forward() int64
	Adjust(other int64) int64
}

// Voice sends the events of elections.
type Voice interface {
	Elect(id, topic string, action []byte)
	AckElection(id string)
}

// Config is what a Node is made of. Broadcaster, Hostname, Clock and Voice are required.
type Config struct {
	Broadcaster broker.Broadcaster // not closed by the node
	Hostname    string
	Clock       Clock
	Voice       Voice
	// Decoder reads events. The zero value accepts JSON.
	Decoder protocol.Decoder
	// Exchange and QueuePrefix are event_exchange and event_queue_prefix. Default: celeryev.
	Exchange, QueuePrefix string
	// Call publishes a signature, raw JSON: what the winner of an election about a task does.
	// Nil: it only says that it has won.
	Call   func(ctx context.Context, signature []byte) error
	Logger *slog.Logger // nil: slog.Default()
}

// Node is a worker among workers.
type Node struct {
	cfg  Config
	log  *slog.Logger
	full string // "<hostname>.<pid>", its name in elections

	mu        sync.Mutex
	turns     turns
	peers     map[string]*peer
	elections map[string]*election
	order     []string // ids of elections, the oldest first

	unreadable map[string]bool // errors that were told of
}

// peer is another worker.
type peer struct {
	freq  time.Duration // between its heartbeats
	heard time.Duration // the last sign of life, in time that this node has listened
}

// New returns a node. It hears nothing before Run.
func New(cfg Config) (*Node, error) {
	if cfg.Broadcaster == nil || cfg.Hostname == "" || cfg.Clock == nil || cfg.Voice == nil {
		return nil, errors.New("gossip: Broadcaster, Hostname, Clock and Voice are required")
	}
	if cfg.Exchange == "" {
		cfg.Exchange = "celeryev"
	}
	if cfg.QueuePrefix == "" {
		cfg.QueuePrefix = "celeryev"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Node{
		turns: turns{since: time.Now()}, cfg: cfg, log: cfg.Logger, full: cfg.Hostname + "." + strconv.Itoa(os.Getpid()),
		peers: map[string]*peer{}, elections: map[string]*election{}, unreadable: map[string]bool{},
	}, nil
}

// Run listens to other workers until ctx is done. It returns an error if they cannot be
// heard at all.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	looking.Go(func() { n.lookAfterPeers(ctx) })
	only := make(chan []string)
	looking.Go(func() { n.takeTurns(ctx, only) })
	err := n.cfg.Broadcaster.Subscribe(ctx, broker.Subscription{
		Exchange: n.cfg.Exchange, BindingKey: "worker.#", Queue: n.cfg.QueuePrefix + "." + protocol.NewID(), Only: only,
		Handle:  func(routingKey string, message broker.Content) { n.hear(ctx, routingKey, message) },
		OnState: n.state(),
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// state returns what is told when others start and cease to be heard: that they never could be, as rights may be missing. Of lost
// connections others tell.
func (n *Node) state() func(subscribed bool, err error) {
	heard, told := false, false
	return func(subscribed bool, err error) {
		heard = heard || subscribed
		if err != nil && !heard && !told && !errors.Is(err, context.Canceled) {
			told = true
			n.log.Error("gossip: cannot hear other workers: "+err.Error()+". Trying again until it works",
				logline.EventKey, "gossip: cannot hear other workers", "error", err)
		}
	}
}

// hear takes in what a worker says, this one included.
func (n *Node) hear(ctx context.Context, routingKey string, message broker.Content) {
	if strings.HasPrefix(routingKey, "task.") { // brokers without patterns deliver everything
		return
	}
	var received protocol.Received
	message.Read(&received)
	events, err := n.cfg.Decoder.DecodeEvents(&received)
	if err != nil && n.isNews(err) {
		n.log.Error("gossip: "+err.Error(), logline.EventKey, "Cannot read gossip", "error", err)
	}
	for _, e := range events {
		switch hostname := e.Text("hostname"); {
		case e.Text("type") == "worker-elect":
			n.candidate(e)
		case e.Text("type") == "worker-elect-ack":
			n.acknowledged(ctx, e.Text("id"))
		case hostname == n.cfg.Hostname:
			n.cfg.Clock.Forward()
		case hostname != "":
			n.cfg.Clock.Adjust(int64(e.Number("clock")))
			n.update(hostname, e)
		}
	}
}

// unreadableMost is how many different errors are told of.
const unreadableMost = 100

// isNews tells whether there was no such error before: heartbeats come every two seconds.
func (n *Node) isNews(err error) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text := err.Error(); !n.unreadable[text] && len(n.unreadable) < unreadableMost {
		n.unreadable[text] = true
		return true
	}
	return false
}

// update notes a sign of life.
func (n *Node) update(hostname string, e protocol.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.Text("type") == "worker-offline" {
		n.log.Debug(hostname+" left", logline.EventKey, "A node left", "node", hostname)
		delete(n.peers, hostname)
		return
	}
	p := n.peers[hostname]
	if p == nil {
		p = &peer{freq: defaultFreq * time.Second}
		n.peers[hostname] = p
		n.log.Debug(hostname+" joined the party", logline.EventKey, "A node joined the party", "node", hostname)
	} else if e.Text("type") == "worker-online" {
		n.log.Debug(hostname+" joined the party", logline.EventKey, "A node joined the party", "node", hostname)
	}
	if freq := e.Number("freq"); freq > 0 && freq < 1e6 {
		p.freq = time.Duration(freq * float64(time.Second))
	}
	p.heard = n.turns.listened(time.Now())
}

// lookAfterPeers forgets workers that have fallen silent.
func (n *Node) lookAfterPeers(ctx context.Context) {
	ticker := time.NewTicker(lookAfter)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			n.mu.Lock()
			for hostname, p := range n.peers {
				if !n.turns.alive(p, now) {
					n.log.Info("missed heartbeat from "+hostname, logline.EventKey, "missed heartbeat", "node", hostname)
					delete(n.peers, hostname)
				}
			}
			n.mu.Unlock()
		}
	}
}

// Peers returns the names of the other workers that live.
func (n *Node) Peers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.aliveLocked()
}

func (n *Node) aliveLocked() []string {
	var names []string
	now := time.Now()
	for hostname, p := range n.peers {
		if n.turns.alive(p, now) {
			names = append(names, hostname)
		}
	}
	slices.Sort(names)
	return names
}
