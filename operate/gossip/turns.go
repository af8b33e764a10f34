package gossip

import (
	"context"
	"math/rand/v2"
	"time"
)

// Each worker hears the heartbeats of all others: those of a thousand are half a million deliveries a second, more than a Redis
// bears. But only a few are needed to know who lives. So where there are more of them than bearable, a worker listens in
// turns: for as long as it takes each to be heard, and then not, for so long that on average it is no more. What is rare (who
// comes and goes, elections) it hears at all times.

const (
	// bearable is how many heartbeats a second a worker hears on average: those of 20 workers.
	bearable = 10
	// patient is as window, where a worker listens in turns: a heartbeat may come at the beginning of one and at the end of the next.
	patient = 3
	// turnMost bounds how long a worker listens at a time.
	turnMost = 2 * time.Minute
)

// rare are the routing keys of all events of workers but heartbeats.
var rare = []string{"worker.online", "worker.offline", "worker.elect", "worker.elect.ack"}

// turns knows when heartbeats are heard. Node.mu is held for its methods.
type turns struct {
	since time.Time     // when it began to listen; zero: it does not
	total time.Duration // how long it had listened before that
	taken bool          // it listens in turns
}

// listened is how long this node has heard heartbeats.
func (t *turns) listened(now time.Time) time.Duration {
	if t.since.IsZero() {
		return t.total
	}
	return t.total + now.Sub(t.since)
}

func (t *turns) alive(p *peer, now time.Time) bool {
	beats := window
	if t.taken {
		beats = patient
	}
	return t.listened(now) < p.heard+time.Duration(beats)*p.freq
}

// listen begins to listen, or ends it.
func (t *turns) listen(now time.Time, on bool) {
	t.total, t.since = t.listened(now), time.Time{}
	if on {
		t.since = now
	}
}

// turn is how long to listen, so that all are heard, and how long not to; 0: there is no need for that.
func (n *Node) turn() (on, off time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rate := 0.0
	for _, p := range n.peers {
		rate += 1 / max(p.freq, 100*time.Millisecond).Seconds()
		on = max(on, p.freq+time.Second)
	}
	on = min(on, turnMost)
	return on, max(0, time.Duration(float64(on)*(rate/bearable-1)))
}

// lookOften is how often a worker that listens all the time looks whether it is to listen in turns.
const lookOften = time.Second

// takeTurns says what to hear, until ctx is done. Pauses differ, so that workers that have started together do not listen together.
func (n *Node) takeTurns(ctx context.Context, only chan<- []string) {
	for ctx.Err() == nil {
		on, off := n.turn()
		if off == 0 {
			n.mu.Lock()
			n.turns.taken = false
			n.mu.Unlock()
			sleep(ctx, lookOften)
			continue
		}
		n.hearOnly(ctx, only, rare, off/2+rand.N(off))
		n.hearOnly(ctx, only, nil, on)
	}
}

// hearOnly has some events heard, or all, for a while. A broker that cannot tell them apart never takes that.
func (n *Node) hearOnly(ctx context.Context, only chan<- []string, routingKeys []string, pause time.Duration) {
	select {
	case only <- routingKeys:
	case <-ctx.Done():
		return
	}
	n.mu.Lock()
	n.turns.listen(time.Now(), routingKeys == nil)
	n.turns.taken = true
	n.mu.Unlock()
	sleep(ctx, pause)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
