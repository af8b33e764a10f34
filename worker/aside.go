package worker

import (
	"context"
	"slices"
	"time"
)

// aside has what was claimed for pools that are full while another had room: what that can run
// may lie behind it. As soon as there is room it is run, before whatever comes later; what there
// is no room for goes back in front of its queue after a while, as others may be idle.
type aside struct {
	of    [][]*request // by pool, in the order of claiming
	n     int
	until time.Time // when it goes back
}

const (
	// asideMost is how many messages are aside, at most, or a few more: what lies behind so
	// many that there is no room for has to wait for them.
	asideMost = 1000
	// asideFor is for how long they are: for so long others do not get them, and so often each of
	// them is claimed in vain.
	asideFor = time.Second
)

func (a *aside) add(r *request, now time.Time) {
	index := r.task.pool.index
	for len(a.of) <= index {
		a.of = append(a.of, nil)
	}
	if a.n == 0 {
		a.until = now.Add(asideFor)
	}
	a.of[index] = append(a.of[index], r)
	a.n++
}

func (a *aside) has(p *pool) bool { return p.index < len(a.of) && len(a.of[p.index]) > 0 }

// next takes the first message of a pool; nil: there is none, or no room for it.
func (a *aside) next(p *pool) *request {
	if !a.has(p) || p.backlog.full() {
		return nil
	}
	r := a.of[p.index][0]
	a.of[p.index][0] = nil
	a.of[p.index] = a.of[p.index][1:]
	a.n--
	return r
}

// take takes everything.
func (a *aside) take() []*request {
	all := slices.Concat(a.of...)
	clear(a.of)
	a.n = 0
	return all
}

// tendAside runs what there is room for by now, and gives the rest back when it is time.
func (in *intake) tendAside(ctx context.Context) {
	if in.aside.n == 0 {
		return
	}
	for _, p := range in.runner.pools {
		for r := in.aside.next(p); r != nil; r = in.aside.next(p) {
			v := in.gate.decide(r, time.Now())
			if v == crowded { // there are others that put in
				v = run
			}
			in.announce(r, v)
			in.pass(r, v)
		}
	}
	now := time.Now()
	switch {
	case in.aside.n == 0 || now.Before(in.aside.until):
	case !in.unclaims: // going back would count as a redelivery, until it is taken for what kills its workers
		in.aside.until = now.Add(asideFor)
	default:
		in.returnAside(ctx)
		in.plans.lookedThrough(now)
	}
}

// returnAside gives back what there was no room for, as it was.
func (in *intake) returnAside(ctx context.Context) {
	left := in.aside.take()
	switch {
	case len(left) == 0:
	case ctx.Err() == nil:
		in.runner.unstarted.unclaim(in.runner.settleCtx, left)
	default: // along with all else that has not started
		for _, r := range left {
			in.giveBack(r)
		}
	}
}
