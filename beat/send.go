package beat

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol/canvas"
)

const (
	// mostTurns and mostBytes bound what is sent in one round trip: the broker serves nobody else meanwhile.
	mostTurns = 500
	mostBytes = 4 << 20
	// refusedFor is how long an entry waits whose message the broker refuses.
	refusedFor = 30 * time.Second
)

// attempt is a run on its way.
type attempt struct {
	*item
	slot  time.Time
	after state
	turn  broker.Turn
	made  *client.Prepared
}

// run is what its source is told.
func (a *attempt) run() Run {
	return Run{Entry: a.Entry, Slot: a.slot, At: a.after.LastRunAt, Count: a.after.Count, Ended: a.OneOff}
}

// newState makes a text that nobody else stores.
func (b *Beat) newState(st state) string {
	b.states++
	st.By = b.token + " " + strconv.Itoa(b.states)
	return st.encode()
}

// sendDue sends what is due now, and returns how many runs that were.
func (b *Beat) sendDue(ctx context.Context) (sent int) {
	for ctx.Err() == nil && b.stored != nil {
		attempts := b.nextDue(ctx, time.Now())
		if len(attempts) == 0 {
			return sent
		}
		sent += b.send(ctx, attempts)
		if !time.Now().Before(b.renewAt) {
			return sent // the lead is to be renewed first
		}
	}
	return sent
}

// nextDue takes entries that are due out of the timetable, and makes their messages.
func (b *Beat) nextDue(ctx context.Context, now time.Time) (attempts []attempt) {
	var waiting []*item
	size := 0
	for len(b.timetable) > 0 && !b.timetable[0].due.After(now) && len(attempts) < mostTurns && size < mostBytes {
		it := heap.Pop(&b.timetable).(*item) //nolint:forcetypeassert // nothing else is in there
		if !it.source.mayRun(now) {
			waiting = append(waiting, it)
			continue
		}
		a, ok := b.attempt(ctx, it, now)
		if !ok {
			continue
		}
		attempts = append(attempts, a)
		for i := range a.turn.Publish {
			size += a.turn.Publish[i].Message.Size()
		}
	}
	for _, it := range waiting {
		it.due = now.Add(again)
		heap.Push(&b.timetable, it)
	}
	return attempts
}

// attempt makes the messages of an entry that is due. If there are none to be sent it is put back.
func (b *Beat) attempt(ctx context.Context, it *item, now time.Time) (a attempt, ok bool) {
	if it.expired(now) {
		it.ended = true
		it.source.ran(Run{Entry: it.Entry, At: it.state.LastRunAt, Count: it.state.Count, Ended: true})
		b.log.Info(fmt.Sprintf("beat: Entry %s has expired", it.Name), logline.EventKey, "An entry has expired", "entry", it.Name)
		return a, false
	}
	slot, next := it.at(now, *b.cfg.CronStartingDeadline)
	if slot.IsZero() {
		if !next.IsZero() && next.After(now) {
			it.passed = now // its time is past the deadline
		}
		b.putBack(it, now)
		return a, false
	}
	made, err := b.prepare(ctx, it, slot)
	if errors.Is(err, client.ErrNotWritten) { // a chord's, whose backend is away
		it.due = now.Add(again)
		heap.Push(&b.timetable, it)
		return a, false
	}
	if err != nil {
		b.complainOfMessage(it, err)
		it.passed = slot
		b.putBack(it, now)
		return a, false
	}
	if !it.said.Equal(slot) { // else it is not the first attempt
		it.said = slot
		b.log.Info(fmt.Sprintf("Scheduler: Sending due task %s (%s)", it.Name, made.Task.Name),
			logline.EventKey, "Sending due task", "entry", it.Name, "task", made.Task.Name)
	}
	a = attempt{item: it, slot: slot, made: made, after: state{
		Slot: slot, LastRunAt: stamp(now), Count: max(it.state.Count, it.TotalRunCount) + 1, Since: it.state.Since,
		Definition: it.definition, Ended: it.OneOff,
	}}
	a.turn = broker.Turn{Entry: it.Name, Before: it.stored, After: b.newState(a.after), Publish: made.Publications}
	if recorder, ok := it.source.Source.(Recorder); ok {
		a.turn.Beside = recorder.Record(a.run())
	}
	return a, true
}

// prepare makes the messages of a run.
func (b *Beat) prepare(ctx context.Context, it *item, slot time.Time) (*client.Prepared, error) {
	ctx, cancel := context.WithTimeout(ctx, answersIn)
	defer cancel()
	made, err := b.cfg.Producer.Prepare(ctx, it.sig, canvas.TaskID(taskID(b.cfg.Schedule, it.Name, slot)))
	switch {
	case err == nil:
		b.preparing.note(nil)
	case errors.Is(err, client.ErrNotWritten):
		b.preparing.note(err)
	}
	return made, err
}

// complainOfMessage logs that a run cannot be sent, in Celery's words.
func (b *Beat) complainOfMessage(it *item, err error) {
	b.cfg.Observer.Failed(it.Name)
	b.log.Error(fmt.Sprintf("Message Error: Couldn't apply scheduled task %s: %s", it.Name, err), logline.EventKey, "Message error", "entry", it.Name, "error", err)
}

// send takes the slots of runs and publishes their messages, and returns how many were sent.
func (b *Beat) send(ctx context.Context, attempts []attempt) (sent int) {
	turns := make([]broker.Turn, len(attempts))
	for i := range attempts {
		turns[i] = attempts[i].turn
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), answersIn)
	defer cancel()
	taken, err := b.cfg.Slots.Take(asking, b.cfg.Schedule, b.token, turns...)
	var refused *broker.RefusedError
	switch {
	case errors.As(err, &refused) && len(attempts) > 1:
		for i := range attempts {
			if b.stored == nil {
				break // what comes after a failure is due when everything has been read anew
			}
			sent += b.send(ctx, attempts[i:i+1])
		}
		return sent
	case refused != nil:
		b.complainOfMessage(attempts[0].item, err)
		attempts[0].due = time.Now().Add(refusedFor)
		heap.Push(&b.timetable, attempts[0].item)
		return 0
	case err != nil:
		b.doubtful = append(b.doubtful, attempts...)
		b.failed(&b.sending, err)
		return 0
	}
	b.sending.note(nil)
	now := time.Now()
	for i := range attempts {
		a := &attempts[i]
		switch {
		case taken[i].OK:
			b.finish(ctx, a, now)
			sent++
		case taken[i].Locked:
			a.source.lostLock()
		default:
			b.stored[a.Name] = taken[i].Stored
			a.stored = taken[i].Stored
			a.state, _ = decodeState(a.stored) // what cannot be read counts as nothing
			b.log.Debug(fmt.Sprintf("beat: %s was sent by another beat", a.Name), logline.EventKey, "Sent by another beat", "entry", a.Name)
		}
		b.putBack(a.item, now)
	}
	return sent
}

// finish notes a run that was sent.
func (b *Beat) finish(ctx context.Context, a *attempt, now time.Time) {
	a.stored, a.state, a.anchor = a.turn.After, a.after, time.Time{}
	b.stored[a.Name] = a.stored
	a.made.Published(ctx)
	b.cfg.Observer.Sent(a.Name, now.Sub(a.slot))
	a.source.ran(a.run())
	b.log.Debug(fmt.Sprintf("%s sent. id->%s", a.made.Task.Name, a.made.Task.ID), logline.EventKey, "Task sent", "task", a.made.Task.Name, "id", a.made.Task.ID)
}

// resolve finds out, when what is stored has been read, which of the runs were sent whose answers were lost.
func (b *Beat) resolve() {
	now := time.Now()
	for i := range b.doubtful {
		a := &b.doubtful[i]
		if b.stored[a.Name] == a.turn.After {
			b.finish(context.Background(), a, now)
		}
	}
	b.doubtful = nil
}
