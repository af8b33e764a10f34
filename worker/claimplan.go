package worker

import "time"

// claimPlan says what to claim next.
type claimPlan struct {
	limit   int                     // 0: nothing
	without func(queue string) bool // queues to leave alone; nil: none
	until   time.Time               // when to think again; zero: when there is other room
}

// claimPlans makes sure that no pool's tasks are in the way of another's.
//
// Messages cannot be chosen, only queues can. So while a pool is full, queues from which its
// tasks have come are left alone, as long as another pool has room. From time to time they are
// looked through nevertheless: what others can run is run, and the rest is put aside (aside.go).
// That goes on at once while it finds something, and else happens more and more rarely.
type claimPlans struct {
	runner  *runner
	mix     *mix
	chooses bool // queues can be left alone

	full  []bool        // the pools that were full when the last claim was planned
	looks bool          // the last plan was to look through all queues: what there is no room for is likely
	found int           // messages for others, since the last look was over
	wait  time.Duration // between two looks
	next  time.Time     // when the next one is
	idle  time.Time     // when to claim for pools that are not likely to get any; zero: that is not known
}

const (
	lookFor = 256 // messages at a time
	// lookSoonest and lookLatest bound the time between two looks that find nothing.
	lookSoonest, lookLatest = 10 * time.Millisecond, time.Second
)

func newClaimPlans(rn *runner, chooses bool) *claimPlans {
	return &claimPlans{runner: rn, mix: newMix(len(rn.pools)), chooses: chooses}
}

// plan says what to claim now that so many messages are aside.
func (c *claimPlans) plan(now time.Time, aside int) claimPlan {
	rooms := c.runner.rooms()
	if len(rooms) == 1 {
		return claimPlan{limit: rooms[0].want}
	}
	wanting, full := false, false
	if c.looks && aside >= asideMost {
		c.lookedThrough(now) // and may go on before what is aside has gone
	}
	c.looks = false
	c.full = c.full[:0]
	for _, r := range rooms {
		wanting = wanting || r.want > 0
		full = full || r.full()
		c.full = append(c.full, r.full())
	}
	switch {
	case !wanting:
		return claimPlan{}
	case !full:
		return c.hurry(now, c.limit(rooms, nil))
	case !now.Before(c.next) && aside < asideMost:
		c.looks = true
		return claimPlan{limit: lookFor}
	}
	crowded := func(queue string) bool {
		return c.mix.expects(queue, c.full)
	}
	until := c.next
	if !now.Before(until) {
		until = time.Time{} // so much is aside that there is no look before that is gone
	}
	if !c.chooses {
		return claimPlan{until: until}
	}
	return claimPlan{limit: max(1, c.limit(rooms, crowded)), without: crowded, until: until}
}

// hurry claims what is planned. If that is nothing, as the pools for which messages come have enough to do, others
// that are idle wait a moment: what these want is not claimed one by one.
func (c *claimPlans) hurry(now time.Time, limit int) claimPlan {
	switch {
	case limit > 0:
		c.idle = time.Time{}
	case c.idle.IsZero():
		c.idle = now.Add(lookSoonest)
	case !now.Before(c.idle):
		c.idle = time.Time{}
		limit = 1
	}
	return claimPlan{limit: limit, until: c.idle}
}

// limit is how many messages to claim so that no pool is likely to get more than it has room for. 0: those that
// are likely to get any want none.
func (c *claimPlans) limit(rooms []room, without func(queue string) bool) int {
	shares, most, limit := c.mix.shares(without), 0, 0
	for i, r := range rooms {
		share := 1.0
		if shares != nil {
			share = shares[i]
		}
		if r.absent || r.free <= 0 || share <= mixNone {
			continue
		}
		most = max(most, r.want)
		if n := int(float64(r.free) / share); limit == 0 || n < limit {
			limit = n
		}
	}
	if most == 0 {
		return 0
	}
	return max(1, min(limit, most))
}

// note counts a message that was claimed.
func (c *claimPlans) note(queue string, p *pool) {
	if c.mix.pools == 1 {
		return
	}
	c.mix.note(queue, p.index)
	if c.looks && !c.full[p.index] {
		c.found++
	}
}

// lookedThrough notes that a look is over, and what there was no room for is back.
func (c *claimPlans) lookedThrough(now time.Time) {
	if c.wait *= 2; c.found > 0 {
		c.wait = 0
	} else {
		c.wait = min(max(c.wait, lookSoonest), lookLatest)
	}
	c.next, c.found = now.Add(c.wait), 0
}

// room is what a pool can take.
type room struct {
	absent bool // there are no tasks for it
	want   int  // how many messages it wants now
	free   int  // how many it could take
}

func (r room) full() bool { return !r.absent && r.free <= 0 }
