package sqlbackend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
)

// counting is one transaction that stores the rows of parts and counts them.
type counting struct {
	b     *Backend
	t     *tables
	tx    querier
	parts []*chordPart

	of      map[string][]*chordPart // by chord
	rows    []*row                  // that are stored
	chords  map[string]*chordRow
	again   map[string]int // parts of tasks that had ended before, by chord
	changed map[string]int // counts to be written
	answers map[*chordPart]backend.ChordCount
}

func (c *counting) run(ctx context.Context) (err error) {
	c.again, c.changed = map[string]int{}, map[string]int{}
	c.answers = make(map[*chordPart]backend.ChordCount, len(c.parts))
	c.of = map[string][]*chordPart{}
	tasks := make([]string, 0, len(c.parts))
	for _, p := range c.parts {
		c.of[p.GroupID] = append(c.of[p.GroupID], p)
		tasks = append(tasks, p.TaskID)
	}
	groups := slices.Sorted(maps.Keys(c.of))
	if c.chords, err = c.b.lockChords(ctx, c.tx, groups, false); err != nil {
		return err
	}
	before, err := c.b.states(ctx, c.tx, c.t, tasks)
	if err != nil {
		return err
	}
	for _, p := range c.parts {
		c.count(p, before)
	}
	if err := c.store(ctx); err != nil {
		return err
	}
	for _, id := range groups {
		if c.chords[id] != nil {
			if err := c.chord(ctx, id); err != nil {
				return fmt.Errorf("chord %s: %w", id, err)
			}
		}
	}
	return c.b.updateCounts(ctx, c.tx, c.changed)
}

// count counts a part of a task that has not ended before, and notes its row.
func (c *counting) count(p *chordPart, before map[string]protocol.State) {
	ended := before[p.TaskID].Ready()
	before[p.TaskID] = p.State
	if p.given || !ended {
		c.rows = append(c.rows, p.row)
	}
	chord := c.chords[p.GroupID]
	switch {
	case chord == nil:
		if !ended {
			c.b.log.Warn("Can't find ChordCounter for Group "+p.GroupID, logline.EventKey, "A chord has no counter", "group_id", p.GroupID, "task_id", p.TaskID)
		}
	case chord.count == 0:
	case ended:
		c.again[p.GroupID]++
	default:
		chord.count--
		c.changed[p.GroupID] = chord.count
	}
}

// store writes the rows, in an order that is everybody's.
func (c *counting) store(ctx context.Context) error {
	c.rows = merge(c.rows)
	if len(c.rows) == 0 {
		return nil
	}
	slices.SortFunc(c.rows, func(a, b *row) int { return strings.Compare(a.id, b.id) })
	return c.b.put(ctx, c.tx, &c.t.tasks, c.rows)
}

// chord looks what has become of a chord.
func (c *counting) chord(ctx context.Context, id string) error {
	chord := c.chords[id]
	_, counted := c.changed[id]
	switch {
	case chord.count == 0 && !counted: // it was complete before
		return c.claimAgain(ctx, id)
	case chord.count > 0 && c.again[id] == 0:
		c.say(id, backend.ChordCount{State: backend.ChordOpen})
		return nil
	}
	members, err := c.b.readMembers(ctx, c.tx, id)
	if err != nil {
		return err
	}
	unready, err := c.b.unready(ctx, c.tx, c.t, members)
	if err != nil {
		return err
	}
	// Of tasks that had ended before, those are counted whose worker has died before it did that.
	if missed := min(c.again[id], chord.count-unready); missed > 0 {
		chord.count -= missed
		c.changed[id] = chord.count
	}
	switch {
	case chord.count > 0:
		c.say(id, backend.ChordCount{State: backend.ChordOpen})
	case unready > 0: // somebody has counted a part twice: Celery would hang now
		chord.count = unready
		c.changed[id] = unready
		c.say(id, backend.ChordCount{State: backend.ChordOpen})
	default:
		delete(c.changed, id)
		return c.complete(ctx, id, &chordClaim{Members: members}, false)
	}
	return nil
}

// claimAgain claims a chord whose body is not known to be published, if nobody is at it.
func (c *counting) claimAgain(ctx context.Context, id string) error {
	text, err := c.b.readMembers(ctx, c.tx, id)
	if err != nil {
		return err
	}
	claim, err := decodeClaim(text)
	if err != nil {
		return fmt.Errorf("%w: %w", backend.ErrUnreadable, err)
	}
	if left := claim.Until - c.chords[id].now; left > 0 {
		c.say(id, backend.ChordCount{State: backend.ChordClaimed, Lease: time.Duration(left) * time.Millisecond})
		return nil
	}
	return c.complete(ctx, id, claim, true)
}

// complete claims a chord for the last of its parts here. again: somebody has claimed it before, who may have published the body.
func (c *counting) complete(ctx context.Context, id string, claim *chordClaim, again bool) error {
	claim.Token, claim.Until = protocol.NewID(), c.chords[id].now+chordLease.Milliseconds()
	if err := c.b.updateChord(ctx, c.tx, id, claim.encode()); err != nil {
		return err
	}
	c.say(id, backend.ChordCount{State: backend.ChordOpen})
	parts := c.of[id]
	c.answers[parts[len(parts)-1]] = backend.ChordCount{
		State: backend.ChordComplete, Claim: backend.ChordClaim{GroupID: id, Token: claim.Token}, Again: again, Members: claim.Members,
	}
	return nil
}

// say is the answer to all parts of a chord.
func (c *counting) say(id string, answer backend.ChordCount) {
	for _, p := range c.of[id] {
		c.answers[p] = answer
	}
}

// answer gives the answers, once the transaction is done. A chord without a row is done.
func (c *counting) answer() {
	for _, p := range c.parts {
		answer, ok := c.answers[p]
		if !ok {
			answer = backend.ChordCount{State: backend.ChordDone}
		}
		*p.answer = answer
	}
}
