package beat

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/protocol/canvas"
)

// item is an entry in the heap.
type item struct {
	*Entry
	source     *feed
	definition string
	sig        canvas.Signature
	sigErr     error // why the entry makes no message

	stored string // of its state
	state  state

	said   time.Time // the slot that was logged to be sent
	anchor time.Time // instead of a last time that a wrong clock has put into the future; zero: it is not
	passed time.Time // what was due until then is not sent; zero: all is
	due    time.Time // when to look at it; zero: never
	ended  bool      // its source was told that it is not to run any more
}

func newItem(e *Entry, source *feed) *item {
	it := &item{Entry: e, source: source}
	if e.Schedule != nil {
		it.definition = digest(e.defined())
	}
	it.sig, it.sigErr = e.signature()
	return it
}

// means tells whether an entry calls the same at the same times as another.
func (e *Entry) means(o *Entry) bool {
	if e.Task != o.Task || !bytes.Equal(e.Args, o.Args) || !bytes.Equal(e.Kwargs, o.Kwargs) || !bytes.Equal(e.Options, o.Options) ||
		!e.Signature.IsZero() || !o.Signature.IsZero() || (e.Schedule == nil) != (o.Schedule == nil) {
		return false
	}
	return e.Schedule == nil || e.defined() == o.defined()
}

// defined is what decides when the entry is due.
func (e *Entry) defined() string {
	if e.Definition != "" {
		return e.Definition
	}
	if raw, err := json.Marshal(e.Schedule); err == nil && len(raw) > len("{}") {
		return string(raw)
	}
	return e.Schedule.String()
}

// follow takes over what is known of an item's entry from before it was loaded anew.
func (it *item) follow(before *item) {
	it.stored, it.state = before.stored, before.state
	if it.definition == before.definition {
		it.passed, it.anchor = before.passed, before.anchor
	}
	it.ended = before.ended && it.Expires.Equal(before.Expires)
}

// foreign is how much later than the last run known here a source's must be to be another's run: databases
// round theirs.
const foreign = time.Second

// ahead is how far in the future a last run may be: clocks differ. One that is further was sent when a
// clock was wrong, and does not keep the entry from running.
const ahead = time.Minute

// base is the time after which the entry is due next.
func (it *item) base(now time.Time) time.Time {
	base := it.lastKnown()
	if !it.anchor.IsZero() {
		base = it.anchor
	}
	if base = later(base, it.passed); base.IsZero() {
		base = now
	}
	return base
}

// lastKnown is the last time that is known to have been dealt with.
func (it *item) lastKnown() time.Time {
	st := it.state
	base := later(st.Since, it.Since)
	switch {
	case it.sameDefinition() && !st.Slot.IsZero():
		base = st.Slot
	case !st.LastRunAt.IsZero():
		base = st.LastRunAt
	}
	if it.LastRunAt.After(st.LastRunAt.Add(foreign)) {
		base = later(base, it.LastRunAt)
	}
	if it.enabledAgain() {
		base = it.Since
	}
	return base
}

func (it *item) sameDefinition() bool { return it.state.Definition == it.definition }

// enabledAgain tells whether somebody has enabled the entry after its last run, as Django does: what was
// due until then is not sent.
func (it *item) enabledAgain() bool {
	return it.LastRunAt.IsZero() && it.Since.After(it.state.LastRunAt)
}

// over tells whether the entry has had its only run.
func (it *item) over() bool {
	return it.state.Ended && it.OneOff && it.sameDefinition() && !it.enabledAgain()
}

// expired tells whether the entry's time is over.
func (it *item) expired(now time.Time) bool { return !it.Expires.IsZero() && !now.Before(it.Expires) }

// at returns the slot that is due at a time, zero if there is none, and the next one after it.
func (it *item) at(now time.Time, deadline time.Duration) (slot, next time.Time) {
	if it.StartingDeadline != nil {
		deadline = *it.StartingDeadline
	}
	base := it.base(now)
	if !base.Before(it.StartTime) {
		return schedule.Due(it.Schedule, base, now, deadline)
	}
	if now.Before(it.StartTime) {
		return time.Time{}, it.firstAfterStart()
	}
	slot, next = schedule.Due(it.Schedule, it.StartTime, now, deadline)
	if slot.IsZero() && it.isInterval() {
		slot = it.StartTime.UTC()
	}
	return slot, next
}

// firstAfterStart is when an entry is due that has not started.
func (it *item) firstAfterStart() time.Time {
	if it.isInterval() {
		return it.StartTime.UTC()
	}
	return it.Schedule.Next(it.StartTime)
}

func (it *item) isInterval() bool {
	_, ok := it.Schedule.(*schedule.Every)
	return ok
}

// plan works out when to look at the entry next.
func (it *item) plan(now time.Time, deadline time.Duration) {
	it.due = time.Time{}
	if it.Err != nil || it.Disabled || it.sigErr != nil || it.over() || it.ended {
		return
	}
	slot, next := it.at(now, deadline)
	switch {
	case it.expired(now), !slot.IsZero():
		it.due = now
		if !slot.IsZero() {
			it.due = slot // the longest due first
		}
	default:
		it.due = next
	}
	if !it.Expires.IsZero() && (it.due.IsZero() || it.Expires.Before(it.due)) {
		it.due = it.Expires
	}
}

// timetable is a heap of items, the first one due in front: container/heap's interface.
type timetable []*item //nolint:recvcheck // what changes the slice needs a pointer, what reads it does not

func (t timetable) Len() int           { return len(t) }
func (t timetable) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timetable) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push implements heap.Interface.
func (t *timetable) Push(x any) { *t = append(*t, x.(*item)) }

// Pop implements heap.Interface.
func (t *timetable) Pop() any {
	last := (*t)[len(*t)-1]
	(*t)[len(*t)-1] = nil
	*t = (*t)[:len(*t)-1]
	return last
}
