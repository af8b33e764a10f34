package gossip

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// electionsKept bounds the elections that have not come to an end.
const electionsKept = 100

// election is what a node knows of one.
type election struct {
	takesPart  bool
	acks       int
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
	n.mu.Lock()
	n.electionLocked(id).takesPart = true
	n.mu.Unlock()
	if len(action) == 0 {
		action = []byte("null")
	}
	n.cfg.Voice.Elect(id, topic, action)
}

// electionLocked returns an election, a new one if need be.
func (n *Node) electionLocked(id string) *election {
	if e := n.elections[id]; e != nil {
		return e
	}
	if len(n.order) >= electionsKept {
		delete(n.elections, n.order[0])
		n.order = n.order[1:]
	}
	n.order = append(n.order, id)
	n.elections[id] = &election{}
	return n.elections[id]
}

// candidate notes a worker that stands for election, and says so.
func (n *Node) candidate(e protocol.Event) {
	id := e.Text("id")
	for _, field := range []string{"id", "clock", "hostname", "pid", "topic", "action", "cver"} {
		if e[field] == nil {
			n.log.Error("election request missing field '" + field + "'")
			return
		}
	}
	c := candidate{
		clock: int64(e.Number("clock")), node: fmt.Sprintf("%s.%d", e.Text("hostname"), int64(e.Number("pid"))),
		topic: e.Text("topic"), action: slices.Clone(e["action"]),
	}
	n.mu.Lock()
	el := n.electionLocked(id)
	el.candidates = append(el.candidates, c)
	n.mu.Unlock()
	n.cfg.Voice.AckElection(id)
}

// acknowledged counts the acknowledgements of an election's candidates. When there are as
// many as other workers, the candidate with the lowest clock has won. Celery fails if it
// has heard of one candidate only by then; here it goes on, unless nobody else is there.
func (n *Node) acknowledged(ctx context.Context, id string) {
	n.mu.Lock()
	el, others := n.elections[id], len(n.aliveLocked())
	if el == nil || !el.takesPart {
		n.mu.Unlock()
		return
	}
	el.acks++
	over := el.acks >= others && len(el.candidates) > min(others, 1)
	if over {
		delete(n.elections, id)
		n.order = slices.DeleteFunc(n.order, func(other string) bool { return other == id })
	}
	n.mu.Unlock()
	if !over {
		return
	}
	leader := slices.MinFunc(el.candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.clock, b.clock), cmp.Compare(a.node, b.node))
	})
	if leader.node != n.full {
		n.log.Info(fmt.Sprintf("node %s elected for %s", leader.node, protocol.Repr(quoted(id))))
		return
	}
	n.log.Info("I won the election " + protocol.Repr(quoted(id)))
	n.lead(ctx, leader)
}

// lead does what a winner has to do.
func (n *Node) lead(ctx context.Context, c candidate) {
	switch {
	case c.topic != "task":
		n.log.Error("Unknown election topic " + protocol.Repr(quoted(c.topic)))
	case n.cfg.Call != nil:
		if err := n.cfg.Call(ctx, c.action); err != nil {
			n.log.Error("Could not call task: " + err.Error())
		}
	}
}

func quoted(text string) []byte {
	raw, err := pyjson.Append(nil, text)
	if err != nil {
		panic(err) // a text has a JSON form
	}
	return raw
}
