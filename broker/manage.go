package broker

import (
	"context"
	"errors"
	"time"
)

// Management looks at queues and empties them, for operators (kombu's Management).
type Management interface {
	// Purge drops what waits in a queue, and returns how many messages there were. What workers hold stays.
	Purge(ctx context.Context, queue string) (int, error)
	// Queues tells of the queues named and of all others it knows of, by name. Queues of the exchanges to ignore
	// are not looked for, nor those of remote control.
	Queues(ctx context.Context, named, ignore []string) ([]QueueState, error)
	// Figures says which figures of queues mean something.
	Figures() Figures
	// Steps returns the priorities that have a figure of their own, the most urgent first; nil: there is one for all.
	Steps() []int
	// Bindings returns the routing table of an exchange, sorted by queue.
	Bindings(ctx context.Context, exchange string) ([]Binding, error)
	// Exchanges returns the exchanges that have bindings, sorted.
	Exchanges(ctx context.Context) ([]string, error)
	Close() error
}

// QueueState is how many messages of a queue are where.
type QueueState struct {
	Name  string
	Type  string // classic, quorum; "" where queues have no types, or it is not known
	Ready []int  // waiting, by priority step (see Management.Steps)
	// Unacked were claimed by a worker of either kind and are not settled: they run, or
	// wait in the worker. A message in several queues of an exchange counts for the first.
	Unacked   int
	Parked    int // kept in the broker until their time
	Dead      int // dead letters
	Consumers int
}

// Figures are those of a QueueState besides Ready that a broker knows.
type Figures struct{ Unacked, Parked, Dead, Consumers bool }

// ParkedManagement is implemented by a Management whose broker parks messages of a queue where they can be
// counted and taken back.
type ParkedManagement interface {
	// Parked returns how many messages of a queue are parked until their time.
	Parked(ctx context.Context, queue string) (int, error)
	// ParkedQueues returns the queues that have parked messages, sorted.
	ParkedQueues(ctx context.Context) ([]string, error)
	// Unpark gives the parked messages of a queue back to it, and returns how many there were.
	Unpark(ctx context.Context, queue string) (int, error)
	// Consumers returns the names of the workers that would park them again.
	Consumers(ctx context.Context, queue string) ([]string, error)
}

// ErrNoLetter says that there is no dead letter of an id.
var ErrNoLetter = errors.New("no such dead letter")

// Letter is a dead letter for people to look at.
type Letter struct {
	ID           string    `json:"id"`
	Queue        string    `json:"queue"` // where it came from, and is replayed to
	Reason       string    `json:"reason"`
	Time         time.Time `json:"time"`              // UTC
	Hostname     string    `json:"hostname"`          // of the worker that buried it
	Task         string    `json:"task,omitempty"`    // "" if it cannot be read
	TaskID       string    `json:"task_id,omitempty"` // "" if it cannot be read
	Redeliveries int       `json:"redeliveries"`      // see Delivery
	Raw          []byte    `json:"raw"`               // the message, in base64

	// Size, if not 0, says that the message is large, and how many bytes it has. Raw may then be nil, except in
	// what Get returns.
	Size int `json:"size,omitempty"`
}

// DeadLetters reads and moves dead letters, for operators.
type DeadLetters interface {
	Count(ctx context.Context) (int, error)
	// IDs returns the ids of limit dead letters (negative: all), the oldest first, after the first offset.
	IDs(ctx context.Context, offset, limit int) ([]string, error)
	// List returns the letters themselves in the same way.
	List(ctx context.Context, offset, limit int) ([]Letter, error)
	// Get returns one dead letter, or ErrNoLetter.
	Get(ctx context.Context, id string) (Letter, error)
	// Replay puts letters back at the end of their queues, and returns the ids of those that were there.
	Replay(ctx context.Context, ids ...string) (replayed []string, err error)
	// Drop removes letters, and returns the ids of those that were there.
	Drop(ctx context.Context, ids ...string) (dropped []string, err error)
	Close() error
}

// ClaimLister is implemented by a Management whose broker knows who has claimed what.
type ClaimLister interface {
	// Claims returns what is unacked, but not what is parked, the least recent claim or renewal first, and at most limit.
	Claims(ctx context.Context, limit int) ([]Claim, error)
	// Registered returns the workers that leave their names with the broker, by hostname: Apium's do.
	Registered(ctx context.Context) ([]Registration, error)
}

// Claim is a message that a worker holds.
type Claim struct {
	Tag    string
	Worker string    // ID of a Registration, which may be gone; "": one of Python's
	Since  time.Time // of the last sign that it is held, by the worker's clock

	Task, TaskID string // "" if the message cannot be read, or is large
}

// Registration is a worker as the broker knows it.
type Registration struct {
	ID       string
	Hostname string // node name
	Queues   []string
	Alive    bool // it has shown a sign of life lately
}
