package gossip

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
)

const (
	// electionsKept bounds the elections that are remembered.
	electionsKept = 100
	// standAfter is how long a worker waits for others to stand first. A Celery worker
	// fails if the second candidate it hears of does not come between its own and the first
	// acknowledgement, and workers of ours are quicker.
	standAfter = 300 * time.Millisecond
	// waitFor is how long an election waits for workers that live and do not stand.
	waitFor = time.Second
)

// election is what a node knows of one.
type election struct {
	stood      bool // this worker has, as a candidate
	over       bool
	late       bool // it has waited for long enough
	unacked    int  // candidates that this worker has not acknowledged
	acks       int  // of all workers for all candidates
	candidates []candidate
}

type candidate struct {
	clock  int64
	node   string // "<hostname>.<pid>"
	topic  string
	action []byte
}

// Election has a worker chosen that takes an action, a raw JSON signature. It is asked of
// all workers; each becomes a candidate. It implements control.Gossip.
func (n *Node) Election(id, topic string, action []byte) {
	if len(action) == 0 {
		action = []byte("null")
	}
	n.mu.Lock()
	alone := len(n.aliveLocked()) == 0
	n.electionLocked(id)
	n.mu.Unlock()
	if alone {
		n.stand(id, topic, action)
		return
	}
	action = slices.Clone(action)
	time.AfterFunc(standAfter, func() { n.stand(id, topic, action) })
}

// stand becomes a candidate, once.
func (n *Node) stand(id, topic string, action []byte) {
	n.mu.Lock()
	el := n.electionLocked(id)
	stood := el.stood || el.over
	el.stood = true
	n.mu.Unlock()
	if !stood {
		n.cfg.Voice.Elect(id, topic, action)
	}
}

// electionLocked returns an election, a new one if need be.
func (n *Node) electionLocked(id string) *election {
	if el := n.elections[id]; el != nil {
		return el
	}
	if len(n.order) >= electionsKept {
		delete(n.elections, n.order[0])
		n.order = n.order[1:]
	}
	n.order = append(n.order, id)
	n.elections[id] = &election{}
	return n.elections[id]
}

// candidate notes a worker that stands for election, and stands as well.
func (n *Node) candidate(e protocol.Event) {
	for _, field := range []string{"id", "clock", "hostname", "pid", "topic", "action", "cver"} {
		if e[field] == nil {
			n.log.Error("election request missing field '"+field+"'", logline.EventKey, "election request misses a field", "field", field)
			return
		}
	}
	id := e.Text("id")
	c := candidate{
		clock: int64(e.Number("clock")), node: fmt.Sprintf("%s.%d", e.Text("hostname"), int64(e.Number("pid"))),
		topic: e.Text("topic"), action: slices.Clone(e["action"]),
	}
	n.stand(id, c.topic, c.action)
	n.mu.Lock()
	el := n.electionLocked(id)
	el.unacked++
	if !el.over {
		el.candidates = append(el.candidates, c)
	}
	first := len(el.candidates) == 1
	n.mu.Unlock()
	if first {
		time.AfterFunc(waitFor, func() {
			n.mu.Lock()
			el.late = true
			n.mu.Unlock()
			n.acknowledge(id)
		})
	}
	n.acknowledge(id)
}

// acknowledge acknowledges the candidates once all workers that live are among them.
// Celery does it at once, and may then choose before it has heard of all.
func (n *Node) acknowledge(id string) {
	n.mu.Lock()
	el := n.electionLocked(id)
	unacked := 0
	if n.completeLocked(el) {
		unacked, el.unacked = el.unacked, 0
	}
	n.mu.Unlock()
	for range unacked {
		n.cfg.Voice.AckElection(id)
	}
}

// completeLocked tells that there is nobody to wait for any more.
func (n *Node) completeLocked(el *election) bool {
	if el.over || el.late {
		return true
	}
	return !slices.ContainsFunc(append(n.aliveLocked(), n.cfg.Hostname), func(hostname string) bool {
		return !slices.ContainsFunc(el.candidates, func(c candidate) bool { return strings.HasPrefix(c.node, hostname+".") })
	})
}

// acknowledged counts acknowledgements. When all workers that live are candidates, and
// there have been as many as other workers, the candidate with the lowest clock has won.
func (n *Node) acknowledged(ctx context.Context, id string) {
	n.mu.Lock()
	el := n.elections[id]
	if el == nil || !el.stood || el.over {
		n.mu.Unlock()
		return
	}
	el.acks++
	if !n.completeLocked(el) || !el.late && el.acks < len(n.aliveLocked()) || len(el.candidates) == 0 {
		n.mu.Unlock()
		return
	}
	el.over = true
	candidates := el.candidates
	el.candidates = nil
	n.mu.Unlock()
	leader := slices.MinFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.clock, b.clock), cmp.Compare(a.node, b.node))
	})
	if leader.node != n.full {
		n.log.Info(fmt.Sprintf("node %s elected for %s", leader.node, protocol.ReprText(id)),
			logline.EventKey, "Another node is elected", "node", leader.node, "election", id)
		return
	}
	n.log.Info("I won the election "+protocol.ReprText(id), logline.EventKey, "I won an election", "election", id)
	n.lead(ctx, leader)
}

// lead does what a winner has to do.
func (n *Node) lead(ctx context.Context, c candidate) {
	switch {
	case c.topic != "task":
		n.log.Error("Unknown election topic "+protocol.ReprText(c.topic), logline.EventKey, "Unknown election topic", "topic", c.topic)
	case n.cfg.Call != nil:
		if err := n.cfg.Call(ctx, c.action); err != nil {
			n.log.Error("Could not call task: "+err.Error(), logline.EventKey, "Could not call task", "error", err)
		}
	}
}
