package canvas

import (
	"time"

	"github.com/apium/apium/protocol"
)

// Environment is what the caller of Apply contributes. NewID and Now are required.
type Environment struct {
	Now   time.Time     // for countdowns and relative expiry
	NewID func() string // makes task and group ids

	// RootID and ParentID are those that messages get which have none: inside a running
	// task its root (or its own id) and its own id.
	RootID, ParentID string
	// Priority is the running task's, to be inherited; nil without
	// task_inherit_parent_priority.
	Priority *int

	Origin  string // gen<pid>@<host>
	ReplyTo string // one id for each producer
	Lang    string // default: "go"

	// Task tells the options that a task known here has by itself, and whether it is
	// known. Nil knows the built-in tasks only.
	Task func(name string) (Options, bool)
	// Check says whether a call has the arguments that a task known here takes, as Celery does
	// before it publishes: Apply fails with its error. Nil takes everything.
	Check func(name string, args, kwargs []byte) error
	// Route tells the options a task gets where the call has none (task_routes). Nil: none.
	Route func(name string) Options
	// Queue tells where messages for a queue go. Nil, or an empty ExchangeType: the
	// default exchange, with the queue's name. It is asked for "", too: that is the
	// delivery mode of what goes to an exchange, whatever the queues.
	Queue        func(name string) Destination
	DefaultQueue string // default: "celery"

	// Chords says how it is found out that the header of a chord is done.
	Chords ChordKeeping
	// ErrbacksOnHeader is task_allow_error_cb_on_chord_header: a chord's errbacks are
	// linked to its header tasks too.
	ErrbacksOnHeader bool
}

// ChordKeeping is how a result backend finds out that the header of a chord is done, and so what
// has to be written and published before the header's tasks.
type ChordKeeping int

// The ways to keep chords.
const (
	// ChordsCounted: the backend counts parts and keeps their results: SetChordSize, SaveGroup
	// and GrowChord (redis).
	ChordsCounted ChordKeeping = iota
	// ChordsListed: the backend counts parts, and their results are in their records: ListChord
	// (django-celery-results).
	ChordsListed
	// ChordsPolled: celery.chord_unlock looks at the records until all are there, and is published
	// before the header (Celery's other backends).
	ChordsPolled
)

// Destination is where the messages for a queue are published.
type Destination struct {
	Queue        string // its name, if it was asked for by another; "": as asked
	Exchange     string
	ExchangeType string // direct, topic, fanout
	RoutingKey   string
	DeliveryMode int // 1: transient, 2: persistent; 0: 2
	// Err says that nothing may be sent to the queue: Apply fails with it.
	Err error
}

// Plan is what applying a signature does.
type Plan struct {
	Steps []Step // in order
	// Result is that of what was applied; nil if that was an empty chain.
	Result *Result
	// Children are the results to be added to those of the running task.
	Children []*Result
}

// Step is one of Publish, SetChordSize, SaveGroup, GrowChord and ListChord.
type Step interface{ step() }

// Publish is a message to be published.
type Publish struct {
	Task         *protocol.Task // its Exchange and RoutingKey say where to
	ExchangeType string         // of its Exchange; "": direct
	Publication  protocol.Publication
	Delay        time.Duration // until its ETA, from the moment of the plan; 0 or less: it is due
	Serializer   string        // as the options name it; "": the default
	Compression  string        // as the options name it; "": the default
	// Retry and RetryPolicy are the options of these names, raw JSON; nil without them.
	Retry, RetryPolicy []byte
}

// SetChordSize stores how many parts a chord's header has.
type SetChordSize struct {
	GroupID string
	Size    int
}

// SaveGroup stores the record of a group, so that results nested in the header of a
// chord are given to the body as they are nested.
type SaveGroup struct {
	GroupID string
	Record  []byte // JSON
}

// GrowChord adds one to the parts a running chord waits for.
type GrowChord struct{ GroupID string }

// ListChord stores which tasks a chord's header consists of, and how many parts they count as.
type ListChord struct {
	GroupID string
	Size    int
	Members []byte // their result tuples, a JSON list
}

func (ListChord) step()    {}
func (Publish) step()      {}
func (SetChordSize) step() {}
func (SaveGroup) step()    {}
func (GrowChord) step()    {}
