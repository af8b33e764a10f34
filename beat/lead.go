package beat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

const (
	// again is how long to wait after a failure.
	again = 500 * time.Millisecond
	// asks is how often a beat that does not lead asks whether somebody else does.
	asks = time.Second
	// answersIn is how long the broker may take to answer.
	answersIn = 5 * time.Second
	// forgetAfter is how long the last run of an entry must be ago that nobody knows any more, until it is
	// forgotten.
	forgetAfter = 60 * 24 * time.Hour

	nobodyLeads = "nobody"
)

// lead takes the lead, or renews it, and reads what is stored if that is not known.
func (b *Beat) lead(ctx context.Context) {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, answersIn)
	defer cancel()
	leader, left, err := b.cfg.Slots.Lead(ctx, b.cfg.Schedule, b.token, b.cfg.LeadFor)
	if err != nil {
		b.failed(&b.asking, err)
		b.setLeading(b.leading && time.Now().Before(b.leadsFor), nobodyLeads)
		return
	}
	b.reaches.Store(true)
	if leader != b.token {
		b.asking.note(nil)
		b.renewAt = time.Now().Add(min(asks, left+time.Millisecond))
		b.setLeading(false, leader)
		b.warnOfStrangers(ctx, leader)
		return
	}
	b.leadsFor, b.renewAt = asked.Add(b.cfg.LeadFor), asked.Add(b.cfg.LeadFor/3)
	b.setLeading(true, leader)
	if b.stored != nil {
		b.asking.note(nil)
		return
	}
	if err := b.read(ctx); err != nil {
		b.failed(&b.asking, err)
		return
	}
	b.asking.note(nil)
}

// setLeading notes who leads.
func (b *Beat) setLeading(leads bool, leader string) {
	name, _, _ := strings.Cut(leader, " ")
	switch {
	case leads && !b.leading:
		b.log.Info(fmt.Sprintf("beat: %s sends schedule '%s'", name, b.cfg.Schedule), logline.EventKey, "Beat leads", "schedule", b.cfg.Schedule)
	case !leads && (b.leading || b.saidLeader != leader) && leader != nobodyLeads:
		b.log.Info(fmt.Sprintf("beat: %s sends schedule '%s'; this beat stands by", name, b.cfg.Schedule),
			logline.EventKey, "Beat stands by", "schedule", b.cfg.Schedule, "leader", name)
	}
	b.saidLeader = leader
	if leads == b.leading {
		return
	}
	b.leading = leads
	b.leads.Store(leads)
	b.cfg.Observer.Leads(leads)
	if !leads {
		b.stored, b.timetable = nil, b.timetable[:0]
	}
	for _, f := range b.feeds {
		f.setLeads(leads)
	}
}

// resign lets another beat lead at once.
func (b *Beat) resign(ctx context.Context) {
	if !b.leading {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := b.cfg.Slots.Resign(ctx, b.cfg.Schedule, b.token); err != nil {
		b.log.Warn(fmt.Sprintf("beat: Others will wait for %v until they send: %v", b.cfg.LeadFor, err), logline.EventKey, "Beat could not resign", "error", err)
	}
	b.setLeading(false, nobodyLeads)
}

// read reads what is stored of all entries, and stores what it has of those that are new.
func (b *Beat) read(ctx context.Context) error {
	stored, err := b.cfg.Slots.Slots(ctx, b.cfg.Schedule)
	if err != nil {
		return err
	}
	b.stored = stored
	b.resolve()
	b.arrange()
	b.catchUpSources()
	return b.introduce(ctx)
}

// introduce stores when entries were first seen that nobody has seen before: a new interval counts from then on,
// whoever leads later. Those that are gone for long are forgotten.
func (b *Beat) introduce(ctx context.Context) error {
	now := stamp(time.Now())
	var turns []broker.Turn
	for name, it := range b.items {
		if it.stored == "" && it.Err == nil && it.Since.IsZero() && it.LastRunAt.IsZero() {
			turns = append(turns, broker.Turn{Entry: name, After: b.newState(state{Since: now, Definition: it.definition})})
		}
	}
	for name, stored := range b.stored {
		if _, known := b.items[name]; !known {
			st, _ := decodeState(stored) // what cannot be read goes as well
			if now.Sub(later(st.LastRunAt, st.Since)) > forgetAfter {
				turns = append(turns, broker.Turn{Entry: name, Before: stored})
			}
		}
	}
	for some := range slices.Chunk(turns, mostTurns) {
		taken, err := b.cfg.Slots.Take(ctx, b.cfg.Schedule, b.token, some...)
		if err != nil {
			return err
		}
		for i, turn := range some {
			b.stored[turn.Entry] = turn.After
			if !taken[i].OK {
				b.stored[turn.Entry] = taken[i].Stored
			}
		}
	}
	if len(turns) > 0 {
		b.arrange()
	}
	return nil
}

// catchUpSources tells sources of runs that they do not know: another beat may have died before it could.
func (b *Beat) catchUpSources() {
	for _, it := range b.items {
		if st := it.state; st.LastRunAt.After(it.LastRunAt) && !it.Disabled && it.Err == nil {
			it.source.ran(Run{Entry: it.Entry, Slot: st.Slot, At: st.LastRunAt, Count: st.Count, Ended: it.over()})
		}
	}
}

// warnOfStrangers warns, once, if the leader seems to send another schedule.
func (b *Beat) warnOfStrangers(ctx context.Context, leader string) {
	if b.compared == leader || len(b.items) == 0 {
		return
	}
	stored, err := b.cfg.Slots.Slots(ctx, b.cfg.Schedule)
	if err != nil || len(stored) == 0 {
		return // later
	}
	b.compared = leader
	for name := range b.items {
		if _, known := stored[name]; known {
			return
		}
	}
	b.log.Warn(fmt.Sprintf("beat: %s leads schedule '%s' and knows none of the entries of this beat, which therefore sends nothing. "+
		"If it belongs to another project, give one of them another name for its schedule (apium_beat_schedule_id)", leader, b.cfg.Schedule),
		logline.EventKey, "The leader knows none of these entries", "schedule", b.cfg.Schedule, "leader", leader)
}
