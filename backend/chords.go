package backend

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/protocol"
)

// ErrClaimLost is returned by Renew and Finish when the claim has run out and
// somebody else has the chord, or it is finished.
var ErrClaimLost = errors.New("backend: the claim on the chord is lost")

// ChordPart is the outcome of one task of a chord's header.
type ChordPart struct {
	GroupID string
	Index   *int // group_index; nil: after those that have one
	TaskID  string
	State   protocol.State
	Result  []byte // raw JSON of the result or of the encoded exception; nil: null. It must not change

	// Record is the task's record, for ChordLists, which store it in the step in which they count
	// the part. Nil: its result is not to be read, or is stored already.
	Record *Record

	// Size is chord_size in the body's signature, where producers before Celery
	// 5.1 wrote it; 0: not there. SetSize's size goes before it.
	Size int
}

// ChordState is what has become of a chord when one of its parts is counted.
type ChordState int

// The states of a chord.
const (
	// ChordOpen: parts are missing, or nobody has said how many there are.
	ChordOpen ChordState = iota
	// ChordComplete: all parts are there, and the caller is to run the body and
	// then call Finish. Nobody else is told so while the claim lasts.
	ChordComplete
	// ChordClaimed: all parts are there, and somebody else is running the body.
	// Should they die, counting the part again after the lease tells.
	ChordClaimed
	// ChordDone: the body was run already.
	ChordDone
)

// ChordCount is the answer to one part.
type ChordCount struct {
	State ChordState
	Count int        // how many parts have arrived
	Total int        // how many there are to be; 0: not known
	Claim ChordClaim // of a ChordComplete
	Again bool       // of a ChordComplete: this part was counted before, and somebody may have got further since
	// Lease is, of a ChordClaimed, when to count the part again; of a ChordComplete, how long a claim should last at a time:
	// 0 leaves that to the caller.
	Lease time.Duration

	// Members are the result tuples of the header, a JSON list, of a ChordComplete whose results
	// are in its tasks' records. Nil: ChordParts.Results has them.
	Members []byte
}

// ChordClaim is the right to run a chord's body, for a while.
type ChordClaim struct{ GroupID, Token string }

// ChordResult is one counted part of a chord.
type ChordResult struct {
	TaskID string
	State  protocol.State
	Result []byte // raw JSON
}

// Chords counts the parts of chords, together with the Python workers that run
// tasks of the same header.
type Chords interface {
	// Count counts parts, in one round trip where possible, and returns one
	// answer for each. A part counts once, however often it is delivered and
	// whatever its later results: Count may be repeated, after a failure and to
	// see whether a claim has run out. Parts that were refused for good are
	// ChordOpen, and the error joins one *RecordError for each.
	Count(ctx context.Context, parts ...ChordPart) ([]ChordCount, error)
	// Renew lets a claim last for a while from now, or returns ErrClaimLost. Call
	// it before the body is published, if preparing it took long.
	Renew(ctx context.Context, claim ChordClaim, lease time.Duration) error
	// Finish says that the body was published or, with failed, that the chord has
	// failed, and forgets the chord: parts that come late change nothing.
	// ErrClaimLost means that somebody else has finished it, or will.
	Finish(ctx context.Context, claim ChordClaim, failed bool) error
}

// ChordParts is implemented by Chords that keep the results of parts.
type ChordParts interface {
	// Results returns the counted parts in the order of their index. The worker
	// uses the members' own records instead when there is a group record.
	Results(ctx context.Context, groupID string) ([]ChordResult, error)
	// SetSize says of how many parts a chord is made, and begins a new run of it.
	// It must return before the last task of the header is published.
	SetSize(ctx context.Context, groupID string, size int) error
	// Grow adds parts to a chord that runs (add_to_chord). When the connection breaks, it
	// finds out whether they were added: so it may be repeated after an error.
	Grow(ctx context.Context, groupID string, by int) error
}

// ChordLists is implemented by Chords that know which tasks a header consists of, and find the
// results in their records.
type ChordLists interface {
	// ListChord says of which tasks a header consists, by their result tuples, a JSON list, and
	// as how many parts they count. It must return before a task of the header is published. A
	// chord that is listed already is left alone.
	ListChord(ctx context.Context, groupID string, size int, members []byte) error
}

// ChordPoller is implemented by result backends that may leave chords to celery.chord_unlock,
// which looks at the records of the header's tasks until all are there.
type ChordPoller interface {
	// PollsChords tells whether the backend does: then it counts none.
	PollsChords() bool
}

// Groups keeps the records that say which tasks a group is made of.
type Groups interface {
	// SaveGroup stores a group's record: {"result": [["<id>", <parent>], [<members>]]}.
	SaveGroup(ctx context.Context, groupID string, document []byte) error
	// LoadGroup returns the record of a group, or ErrNotFound.
	LoadGroup(ctx context.Context, groupID string) ([]byte, error)
	// DeleteGroup deletes the record, if there is one.
	DeleteGroup(ctx context.Context, groupID string) error
}

// ChordTaker is implemented by Chords that can end a chord for who runs its body without publishing it.
type ChordTaker interface {
	// TakeBody ends a chord before the caller begins its body: nobody else will run that, whatever becomes of the caller. It may be repeated
	// after an error, unless ctx is done: then the chord has not ended, and does not. ErrClaimLost means that somebody else has the chord, or has
	// ended it, or that the claim has run out: count the part again.
	TakeBody(ctx context.Context, claim ChordClaim) error
}

// ChordEnds is implemented by backends whose chords a publisher may end in the step in which it publishes a chord's body, where
// it finds them: see broker.ChordEnder. Nobody can then take the chord for one whose body is not published, or the other way round.
type ChordEnds interface {
	// EndOf returns what broker.Publication.Ends is to be: it does what Finish does. The body is not published if that
	// were ErrClaimLost.
	EndOf(claim ChordClaim) any
}
