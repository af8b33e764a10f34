package simulation_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A run is one call of a handler.
type run struct {
	node         string
	began, ended time.Time // ended is zero while it runs, and when its node died in it
}

// A span is a time in which others could not hear of a node. until is zero if that has no end.
type span struct{ from, until time.Time }

// A ledger knows what is to run, what ran where, and what was done to whom. It is told by the handlers
// themselves, not by what workers say.
type ledger struct {
	mu       sync.Mutex
	expected map[string]expected // by name and attempt
	runs     map[string][]*run
	away     map[string][]*span // by node
	kills    int
	names    []string      // of all nodes
	back     []wentBack    // what RabbitMQ has taken back
	hits     []hit         // whatever RabbitMQ and Redis may have noticed of a node
	byRabbit bool          // it is the broker
	patience time.Duration // after which peers put back whatever is not renewed; 0: there are none
	timeout  time.Duration // RabbitMQ's consumer_timeout; 0: none
}

// expected is a run that must come.
type expected struct {
	early  bool // it is acknowledged before it runs
	after  time.Time
	chance bool // it follows from something that may be lost

	sent    time.Time
	follows []string // the runs one of which publishes it; none: the client does
	delays  bool     // it may be parked, by anybody
}

func newLedger() *ledger {
	return &ledger{expected: map[string]expected{}, runs: map[string][]*run{}, away: map[string][]*span{}}
}

// attempt is how runs of one name are told apart.
func attempt(name string, tried int) string { return fmt.Sprintf("%s, attempt %d", name, tried) }

func (l *ledger) expect(what string, e expected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.sent = time.Now()
	l.expected[what] = e
}

// begin notes that a handler was called. It returns nil on a node that is dead: nobody will ever see
// what it does.
func (l *ledger) begin(task, node string) *run {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead(node) {
		return nil
	}
	r := &run{node: node, began: time.Now()}
	l.runs[task] = append(l.runs[task], r)
	return r
}

func (l *ledger) end(r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r != nil && !l.dead(r.node) {
		r.ended = time.Now()
	}
}

func (l *ledger) dead(node string) bool {
	return slices.ContainsFunc(l.away[node], func(s *span) bool { return s.until.IsZero() })
}

// kill notes that a node does nothing from now on.
func (l *ledger) kill(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills++
	l.away[node] = append(l.away[node], &span{from: time.Now()})
}

// abandon notes that a node ends while Redis does not answer: what it had in hand may be as with a
// node that was killed.
func (l *ledger) abandon(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills++
	l.away[node] = append(l.away[node], &span{from: time.Now(), until: time.Now().Add(time.Hour)})
}

// cutOff notes that nobody will hear of a node until then.
func (l *ledger) cutOff(node string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away[node] = append(l.away[node], &span{from: time.Now(), until: until})
}

// meet notes that there is a node.
func (l *ledger) meet(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, name)
}

// silence notes that the broker hears nobody until then: to peers, who know no signs of life, all that is held in Redis gets old, and RabbitMQ closes the channels of
// those who hold messages for longer than its consumer_timeout. What is heard just then, claims too, was said long ago.
func (l *ledger) silence(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lasts := time.Until(until)
	if (l.patience == 0 || lasts < l.patience/2) && (l.timeout == 0 || lasts < l.timeout) {
		return
	}
	for _, name := range l.names {
		l.away[name] = append(l.away[name], &span{from: time.Now(), until: until.Add(2 * time.Second)})
	}
}

// missing returns what has not run to its end, without what may have died with the node that had
// acknowledged it.
func (l *ledger) missing() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, e := range l.expected {
		done := slices.ContainsFunc(l.runs[name], func(r *run) bool { return !r.ended.IsZero() })
		if !done && (!e.early && !e.chance || l.kills == 0) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// faults returns what ran more often than it may, too early, or though nobody sent it.
func (l *ledger) faults() (faults []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, runs := range l.runs {
		fault := func(format string, args ...any) {
			faults = append(faults, name+" "+fmt.Sprintf(format, args...)+": "+l.story(runs))
		}
		e, known := l.expected[name]
		if !known {
			fault("was not sent")
		}
		if e.early && len(runs) > 1 && !l.byRabbit && !l.takenFromPeer(runs) {
			fault("is acknowledged early and ran %d times", len(runs))
		}
		for i, r := range runs {
			if r.began.Before(e.after) {
				fault("is not due before %s", since(e.after))
			}
			switch {
			case i == 0:
			case l.byRabbit:
				if !l.again(name, e, runs[:i], r) {
					fault("ran again, and RabbitMQ had no reason to deliver it again, nor anybody to publish it")
				}
			case !l.excused(runs[i-1], r):
				fault("ran again, and nobody had reason to take %s for dead", runs[i-1].node)
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// forgiven is for how long a node may be away without being taken for dead. A sign of life lasts for six
// seconds and is given every two.
const forgiven = 3 * time.Second

// excused tells whether the node of the first run was away between the two for long enough.
func (l *ledger) excused(first, next *run) bool {
	return slices.ContainsFunc(l.away[first.node], func(s *span) bool {
		if s.until.IsZero() {
			return s.from.Before(next.began)
		}
		return s.from.Before(next.began) && s.until.After(first.began) && s.until.Sub(s.from) > forgiven
	})
}

// takenFromPeer tells whether each run but the last was one of kombu's, which was away so long that its message was put back before it
// acknowledged that: it does not look whether there was something to acknowledge.
func (l *ledger) takenFromPeer(runs []*run) bool {
	for i, r := range runs[:len(runs)-1] {
		if !strings.HasPrefix(r.node, peerPrefix) || !l.excused(r, runs[i+1]) {
			return false
		}
	}
	return true
}

func (l *ledger) story(runs []*run) string {
	var parts []string
	for _, r := range runs {
		end := "never ended"
		if !r.ended.IsZero() {
			end = "ended " + since(r.ended)
		}
		parts = append(parts, fmt.Sprintf("%s began %s, %s", r.node, since(r.began), end))
		for _, s := range l.away[r.node] {
			parts = append(parts, fmt.Sprintf("away from %s until %s", since(s.from), since(s.until)))
		}
	}
	return strings.Join(parts, "; ")
}

// since tells a moment in the bubble's time, which begins with the year 2000.
func since(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("4m5.000s")
}
