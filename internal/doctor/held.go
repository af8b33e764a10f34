package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/pyjson"
)

// claims are messages that were unacked before the workers were asked what they hold, and still were after that.
type claims struct {
	known bool
	all   []broker.Claim
}

// mostClaims is how many unacked messages are looked at: those that are held for longest.
const mostClaims = 1000

// askHolders finds out what is unacked, and what Python's workers say they hold of that.
func (f *facts) askHolders(ctx context.Context, q *questioner, m broker.Management) {
	list, ok := m.(broker.ClaimLister)
	if !ok {
		return
	}
	before, err := list.Claims(ctx, mostClaims)
	if err != nil {
		f.missed("who holds unacked messages", err)
		return
	}
	if len(before) == 0 {
		f.claims.known = true
		return
	}
	answers := 0
	for _, command := range []string{"active", "reserved", "scheduled"} {
		q.ask(ctx, command, func(w *Worker, answer json.RawMessage) {
			answers++
			w.hold(answer)
		})
	}
	if answers < 3*len(q.nodes) {
		return // it was noted who did not answer
	}
	after, err := list.Claims(ctx, 2*mostClaims)
	if err != nil {
		f.missed("who holds unacked messages", err)
		return
	}
	still := map[string]bool{}
	for _, c := range after {
		still[c.Tag] = true
	}
	f.claims = claims{true, slices.DeleteFunc(before, func(c broker.Claim) bool { return !still[c.Tag] })}
}

// hold notes the tasks of a list whose messages are not acknowledged.
func (w *Worker) hold(list []byte) {
	for _, entry := range pyjson.Elements(list) {
		if request := pyjson.Member(entry, "request"); request != nil { // of scheduled
			entry = request
		}
		if string(pyjson.Member(entry, "acknowledged")) != "true" {
			w.holds = append(w.holds, text(pyjson.Member(entry, "id")))
		}
	}
}

// visibilityDefault is kombu's.
const visibilityDefault = time.Hour

// heldByNobody finds unacked messages of workers that are gone.
func heldByNobody(f *facts) (found []Finding) {
	if !f.claims.known || len(f.claims.all) == 0 {
		return nil
	}
	alive, apium := map[string]bool{}, false
	for _, r := range f.registered {
		alive[r.ID] = r.Alive
		apium = apium || r.Alive
	}
	var ofPython, ofApium []broker.Claim
	for _, c := range f.claims.all {
		switch {
		case c.Worker == "":
			ofPython = append(ofPython, c)
		case !alive[c.Worker] && !apium: // else another one gives them back within seconds
			ofApium = append(ofApium, c)
		}
	}
	lost := append(f.notHeld(ofPython), ofApium...)
	if len(lost) == 0 {
		return nil
	}
	timeout := f.visibilityTimeout()
	slices.SortFunc(lost, func(a, b broker.Claim) int { return a.Since.Compare(b.Since) })
	var rows []string
	for i, c := range lost {
		const most = 5
		if i == most {
			rows = append(rows, fmt.Sprintf("and %d more", len(lost)-most))
			break
		}
		rows = append(rows, fmt.Sprintf("%s %s, claimed %s", cmp.Or(c.Task, "not readable"), c.TaskID, moment(c.Since, f.Now())))
	}
	first, last := lost[0].Since.Add(timeout), lost[len(lost)-1].Since.Add(timeout)
	finding := Finding{
		Severity: Warning, Title: messages(len(lost), "is", "are") + " unacked, and held by no worker that answers", Details: rows,
		Meaning: fmt.Sprintf("Their worker was killed, lost its connection, or does not answer. They run again when the visibility timeout (%s) has passed: "+
			"between %s and %s.", timeout, moment(first, f.Now()), moment(last, f.Now())),
		Advice: "If that is too late, see which workers have died, and restart those that hang. A worker of Apium gives back what a dead one of Apium's held within seconds.",
	}
	if len(f.fleet) == 0 {
		finding.Advice = "Start a worker: only workers give them back."
	}
	const late = time.Minute
	if f.Now().Sub(first) > late {
		finding.Severity = Error
		finding.Meaning = fmt.Sprintf("Their worker is gone, and the visibility timeout (%s) of the first has passed since %s: nobody gives them back.", timeout, moment(first, f.Now()))
		finding.Advice = "Start a worker, or restart one that hangs: only workers give them back. See also that all have the same visibility timeout."
	}
	return append(found, finding)
}

// notHeld are claims of Python's workers that none of them tells of. What waits for its rate limit they do not tell.
func (f *facts) notHeld(of []broker.Claim) []broker.Claim {
	told := map[string]bool{}
	for _, w := range f.fleet {
		if w.IsApium() {
			continue
		}
		for _, id := range w.holds {
			told[id] = true
		}
		for _, task := range w.limited {
			told[task] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(of), func(c broker.Claim) bool { return c.TaskID == "" || told[c.TaskID] || told[c.Task] })
}

// messages is a number of messages and its verb.
func messages(n int, one, many string) string {
	if n == 1 {
		return "1 message " + one
	}
	return fmt.Sprintf("%d messages %s", n, many)
}

// moment is a time of day, with its distance from now.
func moment(t, now time.Time) string {
	text := t.Local().Format("15:04:05")
	switch d := t.Sub(now); {
	case d >= time.Second:
		return text + " (in " + roughly(d) + ")"
	case d <= -time.Second:
		return text + " (" + roughly(-d) + " ago)"
	}
	return text
}
