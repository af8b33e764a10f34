package simulation_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/apium/apium/protocol/canvas"
)

// A workload makes up what is sent, and tells the ledger what has to come of it.
type workload struct {
	random *rand.Rand
	ledger *ledger
	made   int
	peers  bool // some of it is for them, too
}

// next returns something to send.
func (w *workload) next() canvas.Signature {
	if w.peers && w.random.IntN(2) == 0 {
		kind := []string{early, late}[w.random.IntN(2)]
		return w.task(kind, expected{early: kind == early}).Set(canvas.Queue(shared))
	}
	switch w.random.IntN(6) {
	case 0:
		return w.task(early, expected{early: true})
	case 1:
		return w.later()
	case 2:
		return w.retried()
	case 3:
		one := w.task(late, expected{})
		two := w.task(late, expected{follows: w.last(1)})
		return canvas.Chain(one, two, w.task(late, expected{follows: w.last(1)}))
	case 4:
		header := []canvas.Signature{w.task(late, expected{}), w.task(late, expected{}), w.task(late, expected{})}
		return canvas.Chord(header, w.task(late, expected{follows: w.last(3)}))
	default:
		return w.task(late, expected{})
	}
}

func (w *workload) name() string {
	w.made++
	return fmt.Sprintf("t%d", w.made)
}

// last are the first attempts of the last n tasks.
func (w *workload) last(n int) (names []string) {
	for i := range n {
		names = append(names, attempt(fmt.Sprintf("t%d", w.made-i), 0))
	}
	return names
}

func (w *workload) takes() int { return []int{0, 0, 1, 30, 400, 3000, 15000}[w.random.IntN(7)] }

func (w *workload) task(kind string, e expected) canvas.Signature {
	name := w.name()
	w.ledger.expect(attempt(name, 0), e)
	return canvas.Sig(kind, name, w.takes()).Immutable().Set(canvas.TaskID(name))
}

// later is a task that is due in a while.
func (w *workload) later() canvas.Signature {
	due := time.Now().Add(milliseconds(w.random.IntN(60_000))).Truncate(time.Microsecond) // as messages tell it
	kind := early
	if w.random.IntN(2) == 0 {
		kind = late
	}
	return w.task(kind, expected{early: kind == early, after: due, delays: true}).Set(canvas.ETA(due))
}

// retried is a task that is run three times, soon or later one after the other.
func (w *workload) retried() canvas.Signature {
	name, tries, kind := w.name(), 2, late
	if w.random.IntN(4) == 0 {
		kind = early
	}
	for tried := range tries + 1 {
		e := expected{early: kind == early, chance: kind == early}
		if tried > 0 {
			e.follows, e.delays = []string{attempt(name, tried-1)}, true
		}
		w.ledger.expect(attempt(name, tried), e)
	}
	pause := []int{0, 500, 13_000}[w.random.IntN(3)]
	return canvas.Sig(kind, name, w.takes(), tries, pause).Immutable().Set(canvas.TaskID(name))
}
