package compat_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// ledger accounts for tasks whose workers and brokers are disturbed. It knows what was sent, and the tasks
// themselves note in a Redis which is not disturbed when they start and when they are done: see tapp.work.
// The places of these notes in their lists are its time.
type ledger struct {
	journal *redisServer
	sent    []sentTask      // those whose keys begin with early are acknowledged early
	order   map[string]int  // of keys in sent
	sends   map[string]bool // by key: a task publishes others
	slots   int             // of all workers together
	runs    int             // of beats' entries, of which the beats say that they have sent them
	// unconfirmed says that acknowledgements have no answer, so that they may be lost with a connection.
	unconfirmed bool
	// once says that what a late task publishes is published once, however often the task runs.
	once  bool
	apart bool // clocks are, so that tasks begin when they are due by those
	ahead int  // how many messages a worker may have acknowledged beyond what runs: see worker/earlyack.go
	marks []*mark
	// unstored are the keys of late tasks whose results are missing.
	unstored []string
}

// send notes tasks before they are sent.
func (l *ledger) send(tasks ...sentTask) {
	if l.order == nil {
		l.order, l.sends = map[string]int{}, map[string]bool{}
	}
	for _, task := range tasks {
		l.order[task.key] = len(l.sent)
		for _, by := range task.by {
			l.sends[by] = true
		}
		l.sent = append(l.sent, task)
	}
}

// mark is one fault, from its beginning to its end.
type mark struct {
	fault    *fault
	from, to place
	sent     int // how many tasks had been sent
	normal   time.Duration
	never    bool // some worker did not work again
}

// place is how many tasks had started, and how many were done, at some time.
type place struct{ started, done int }

func (l *ledger) now(t *testing.T) place {
	t.Helper()
	done := l.journal.journalLen(t, "done") // before started: what is done by then has started
	return place{l.journal.journalLen(t, "started"), done}
}

// begin notes that a fault begins.
func (l *ledger) begin(t *testing.T, f *fault) *mark {
	t.Helper()
	m := &mark{fault: f, from: l.now(t), sent: len(l.sent)}
	m.to = m.from
	l.marks = append(l.marks, m)
	return m
}

// complete tells whether all is done that is acknowledged late and was not deleted. What is lost never is.
func (l *ledger) complete(t *testing.T) bool {
	t.Helper()
	done := positions(l.journal.journalKeys(t, "done"))
	from := 0
	for _, m := range l.marks {
		if m.fault.drops {
			from = m.sent
		}
	}
	return !slices.ContainsFunc(l.sent[from:], func(task sentTask) bool {
		return !strings.HasPrefix(task.key, "early") && len(done[task.key]) == 0
	})
}

// notes are the places where each task has started, and was done.
type notes struct{ started, done map[string][]int }

// row is what has become of the tasks of one kind of fault.
type row struct {
	faults, tasks int
	lost          int // late tasks that were never done, early ones for which there is no reason
	ended         int // early ones that ran in a worker, or that it had accepted, when it was killed; deleted ones; results set back
	early, late   int // runs beyond the first, with a reason
	unexplained   int // and without
	normal        time.Duration
	never         bool // some worker did not work again in that time
	details       []string
}

// judge accounts for every task, by the faults that were there when it ran.
func (l *ledger) judge(t *testing.T) map[string]*row {
	t.Helper()
	n := notes{positions(l.journal.journalKeys(t, "started")), positions(l.journal.journalKeys(t, "done"))}
	rows := map[string]*row{}
	at := func(m *mark) *row {
		if rows[m.fault.name] == nil {
			rows[m.fault.name] = &row{}
		}
		return rows[m.fault.name]
	}
	for i, m := range l.marks {
		r := at(m)
		r.faults++
		r.tasks += m.sent
		if i > 0 {
			r.tasks -= l.marks[i-1].sent
		}
		r.normal = max(r.normal, m.normal)
		r.never = r.never || m.never
	}
	if len(l.marks) > 0 {
		l.judgeSlots(at(l.marks[len(l.marks)-1]), n)
		if !l.apart {
			l.judgeTimes(t, at)
		}
	}
	for _, key := range l.unstored {
		if m := l.setBack(key, n); m != nil {
			at(m).ended++
			continue
		}
		r := at(l.sentFor(l.order[key]))
		r.lost++
		r.details = append(r.details, "the result of "+key+" was lost")
	}
	for i, task := range l.sent {
		key := task.key
		runs, ends := n.started[key], n.done[key]
		if len(ends) == 0 {
			m, why := l.whyNot(i, n)
			if why {
				at(m).ended++
			} else {
				at(m).lost++
				at(m).details = append(at(m).details, fmt.Sprintf("%s was lost: started at %v", key, runs))
			}
		}
		for _, again := range runs[min(1, len(runs)):] {
			m, why := l.whyAgain(key, again, n)
			switch {
			case why && strings.HasPrefix(key, "early"):
				at(m).early++
			case why:
				at(m).late++
			default:
				at(m).unexplained++
				at(m).details = append(at(m).details, fmt.Sprintf("%s ran again: started at %v, done at %v", key, runs, ends))
			}
		}
	}
	return rows
}

// whyNot finds the fault because of which a task is not done, and whether that may be.
func (l *ledger) whyNot(index int, n notes) (*mark, bool) {
	task := l.sent[index]
	early, runs := strings.HasPrefix(task.key, "early"), n.started[task.key]
	for _, m := range l.marks {
		switch {
		case m.fault.drops && index < m.sent:
			return m, true
		case !early || !m.fault.kills || m.sent <= index || m.fault.pool && !task.python:
		case len(runs) == 0 || runs[0] < m.to.started && runs[0] >= m.from.started-8*l.slots:
			return m, true // it ran, or was accepted
		}
	}
	return l.sentFor(index), false
}

// setBack finds the fault by which the broker was set back to before a task's result was stored.
func (l *ledger) setBack(key string, n notes) *mark {
	for _, m := range l.marks {
		if m.fault.rewinds && l.disturbed(m, key, n) {
			return m
		}
	}
	return nil
}

// sentFor finds the fault for which a task was sent.
func (l *ledger) sentFor(index int) *mark {
	for _, m := range l.marks {
		if m.sent > index {
			return m
		}
	}
	return l.marks[len(l.marks)-1]
}

// judgeSlots compares the runs of beats' entries that were done with those that are stored as sent. Each is accounted for as any
// task besides.
func (l *ledger) judgeSlots(r *row, n notes) {
	runs := 0
	for key := range n.started {
		if strings.HasPrefix(key, slotPrefix) {
			l.send(sentTask{key: key, python: true}) // it may be
			runs++
		}
	}
	if runs == l.runs {
		return
	}
	r.details = append(r.details, fmt.Sprintf("%d runs of entries were done, %d were sent", runs, l.runs))
	r.lost += max(0, l.runs-runs)
	r.unexplained += max(0, runs-l.runs)
}

// slotPrefix begins the keys of tasks that beats send; their ids follow.
const slotPrefix = "slot-"

// judgeTimes looks for tasks that began before they were due.
func (l *ledger) judgeTimes(t *testing.T, at func(*mark) *row) {
	t.Helper()
	for _, key := range l.journal.journalKeys(t, "too soon") {
		r := at(l.sentFor(l.order[key]))
		r.unexplained++
		r.details = append(r.details, key+" began before it was due")
	}
}

// whyAgain finds the fault because of which a task ran again, and whether that may be: see excuses.
func (l *ledger) whyAgain(key string, again int, n notes) (*mark, bool) {
	early := strings.HasPrefix(key, "early")
	last := l.marks[0]
	for _, m := range l.marks {
		if m.from.started > again {
			break
		}
		last = m
		if m.fault.clean || m.fault.pool && !l.sent[l.order[key]].python || early && !m.fault.rewinds && (!m.fault.unacks || !l.unconfirmed) {
			continue
		}
		if l.excuses(m, key, n) {
			return m, true
		}
	}
	return last, false
}

// excuses tells whether a fault is a reason to run a task again: it was running when the fault was there, or its
// acknowledgement was on its way; or it was published again, because that holds for a task that publishes it, or for its
// own message when that was parked; or it had completed a chord, and waited until somebody published the body.
func (l *ledger) excuses(m *mark, key string, n notes) bool {
	if l.disturbed(m, key, n) {
		return true
	}
	task := l.sent[l.order[key]]
	if body := n.started[task.body]; len(body) > 0 && body[0] >= m.from.started && n.started[key][0] < m.to.started {
		return true
	}
	if task.parked && l.unconfirmed && l.order[key] < m.sent && n.started[key][0] >= m.from.started {
		return true
	}
	return (!l.once || m.fault.rewinds) && slices.ContainsFunc(task.by, func(by string) bool { return l.excuses(m, by, n) })
}

// disturbed tells whether one of a task's runs was there when a fault was, or had ended just before.
func (l *ledger) disturbed(m *mark, key string, n notes) bool {
	ends := n.done[key]
	for i, run := range n.started[key] {
		if run < m.to.started+l.slots && (i >= len(ends) || ends[i] >= m.from.done-l.onTheirWay(m, key)) {
			return true
		}
	}
	return false
}

// heldBySlot is how many messages workers hold for each slot, and what follows from these.
const heldBySlot = 24

// onTheirWay is how many tasks may be done whose acknowledgements are on their way when a fault begins: one or two of
// each slot, and, where a busy machine lets the broker pause, all that workers held. Where nothing confirms them, they are more: a task that
// publishes others is acknowledged when the broker has confirmed those, and many are done meanwhile that publish nothing.
func (l *ledger) onTheirWay(m *mark, key string) int {
	switch {
	case m.fault.forgets: // a classic queue writes down what was acknowledged when it finds the time
		return m.from.done
	case m.fault.rewinds:
		return 64 * l.slots
	case l.unconfirmed && l.sends[key]:
		return 128 * l.slots
	case l.unconfirmed:
		return 32 * l.slots
	}
	return heldBySlot * l.slots
}

// positions are where each key stands in a list.
func positions(list []string) map[string][]int {
	at := map[string][]int{}
	for i, key := range list {
		at[key] = append(at[key], i)
	}
	return at
}

// bounds tells what is more than the faults of a kind explain, although each has a reason.
func (l *ledger) bounds(f *fault, r *row) string {
	most := r.faults * l.slots * heldBySlot
	if l.unconfirmed && f.unacks { // who has not found out yet goes on, and acknowledges into the void
		most *= 2
	}
	if f.cuts > 0 {
		most = r.faults * f.cuts * 3 // the task, and the steps that it had published
	}
	if f.forgets || f.rewinds {
		most *= 8
	}
	if r.early+r.late > most {
		return fmt.Sprintf("%d tasks ran again, %d at most ran then", r.early+r.late, most)
	}
	most = r.faults * cmp.Or(f.cuts, l.slots+l.ahead)
	if r.ended > most && !f.drops {
		return fmt.Sprintf("%d tasks were cut off, %d at most ran or were accepted then", r.ended, most)
	}
	return ""
}

// drawn is a table whose columns stand below each other.
func drawn(cells [][]string) string {
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var out strings.Builder
	for n, line := range cells {
		for i, cell := range line {
			fmt.Fprintf(&out, "| %-*s ", widths[i], cell)
		}
		out.WriteString("|\n")
		if n == 0 {
			out.WriteString("|" + strings.Join(slices.Collect(dashes(widths)), "|") + "|\n")
		}
	}
	return out.String()
}

func dashes(widths []int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, w := range widths {
			if !yield(strings.Repeat("-", w+2)) {
				return
			}
		}
	}
}
