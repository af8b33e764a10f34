package broker

import (
	"context"
	"fmt"
	"time"
)

// Slots is implemented by publishers that keep, beside the messages, what has been sent of periodic tasks: so
// a run is noted and its message published in one step, and who repeats it cannot send it twice.
// A schedule is a name that all who send its entries have in common.
// All methods may be repeated after an error. They are safe for concurrent use.
type Slots interface {
	// Lead makes node the leader of a schedule if there is none, for so long; a leader stays it for so long
	// from now on. It returns who leads, and for how long without renewing it.
	Lead(ctx context.Context, schedule, node string, lasts time.Duration) (leader string, left time.Duration, err error)
	// Resign ends the lead of a node, if it has it.
	Resign(ctx context.Context, schedule, node string) error
	// Slots returns what is stored of all entries of a schedule.
	Slots(ctx context.Context, schedule string) (map[string]string, error)
	// Take takes turns in one round trip; another one comes before it for each direct or topic exchange
	// named. Each turn is taken whole or not at all, whatever becomes of the others. A message that cannot be
	// published is a *RefusedError, whose Index is that of the turn: then none is taken. If node does not
	// lead any more none is taken either, and the error is a *DeposedError.
	Take(ctx context.Context, schedule, node string, turns ...Turn) ([]Taken, error)
}

// Turn is one run of an entry, or another change of what is stored of it.
type Turn struct {
	Entry string
	// Before is what must be stored for the turn to be taken; "": nothing is.
	Before string
	// After is what is stored then; "": nothing. It must be nobody else's: where it is stored already, the
	// turn has been taken before, and counts as taken.
	After string
	// Publish is published along with it.
	Publish []Publication
	// Beside is what else belongs to it; nil: nothing.
	Beside *Beside
}

// Beside is what others keep of runs in the database that the publisher keeps messages in: RedBeat's keys in
// Redis. A publisher with a database of another kind does not heed it.
type Beside struct {
	// Lock is a key that must have the value Token for the turn to be taken; "": there is none.
	Lock, Token string
	// Commands are done with the turn, each with its arguments, the first of which is a key. One whose key somebody
	// has deleted is not done; one that fails keeps nothing from being done.
	Commands [][]string
}

// Taken tells what became of a turn.
type Taken struct {
	OK     bool
	Locked bool   // it was not taken because somebody else has the lock that is named in Beside
	Stored string // what is stored instead, if it was not taken otherwise
}

// DeposedError says that somebody else leads a schedule.
type DeposedError struct {
	Leader string // "": nobody
}

func (e *DeposedError) Error() string {
	if e.Leader == "" {
		return "broker: nobody leads the schedule any more"
	}
	return fmt.Sprintf("broker: %s leads the schedule", e.Leader)
}

// Compare does in this process what [Slots.Take] does, with what is stored of each entry: it tells which turns are taken,
// what they publish, of which turn each message is, and what is to be stored of the entries that change ("": nothing).
func Compare(stored map[string]string, turns []Turn) (taken []Taken, messages []Publication, of []int, changes map[string]string) {
	taken, changes = make([]Taken, len(turns)), map[string]string{}
	for i := range turns {
		t := &turns[i]
		now, changed := changes[t.Entry]
		if !changed {
			now = stored[t.Entry]
		}
		switch now {
		case t.After:
			taken[i].OK = true
		case t.Before:
			taken[i].OK = true
			for _, m := range t.Publish {
				messages, of = append(messages, m), append(of, i)
			}
			changes[t.Entry] = t.After
		default:
			taken[i].Stored = now
		}
	}
	return taken, messages, of, changes
}
