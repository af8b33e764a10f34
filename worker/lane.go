package worker

import (
	"context"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/publish"
)

// lane is one of the two ways in which a settler writes. What a broker must confirm before the message that it follows from
// is acknowledged has a lane of its own: a broker that is slow to confirm, or short of memory, and takes nothing that is
// published, holds up no results and acknowledgements of tasks that publish nothing. They make room in it.
type lane struct {
	*settler
	queue      chan settlement
	confirming chan<- settlement // nil: this is the lane of what is confirmed

	// Reused.
	tags       []string
	acked      []*request
	records    []backend.Record
	outgoing   []publish.Message
	parts      []backend.ChordPart
	partsOf    []partOf
	concluding []*settlement
}

// run writes what is to be written, in the order in which it came in, for as many requests at a time as are waiting: the
// busier the worker, the fewer round trips per task. It ends when the queue is closed and all is written.
func (s *lane) run(ctx context.Context) {
	group, left := make([]settlement, 0, settleGroup), []settlement(nil)
	for first := range s.queue {
		group = append(group[:0], first)
		for more := true; more && len(group) < settleGroup; {
			select {
			case next, open := <-s.queue:
				if more = open; open {
					group = append(group, next)
				}
			default:
				more = false
			}
		}
		whole := group
		if s.confirming != nil {
			group, left = s.split(group, left[:0])
		}
		if len(group) > 0 {
			s.write(ctx, group)
		}
		for _, one := range left { // after what was written for the same requests before
			s.confirming <- one
		}
		clear(whole)
		clear(left)
	}
}

// split takes what is confirmed out of a group.
func (s *lane) split(group, left []settlement) (stays, leaves []settlement) {
	stays = group[:0]
	for i := range group {
		if s.confirms(&group[i]) {
			left = append(left, group[i])
		} else {
			stays = append(stays, group[i])
		}
	}
	return stays, left
}

// confirms tells whether the broker must confirm something before the message of a settlement is gone.
func (s *settler) confirms(one *settlement) bool {
	if s.concluder != nil { // which does both in one step
		return false
	}
	switch one.fate {
	case requeue, forward, burial, park:
		return true
	default: // it is acknowledged, or nothing becomes of it yet
	}
	return one.flow != nil && len(one.flow.Messages)+len(one.flow.then) > 0
}
