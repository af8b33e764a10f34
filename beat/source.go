package beat

import (
	"context"
	"time"

	"github.com/apium/apium/broker"
)

// Source is where entries come from, and where their runs are written back. Its methods are called by one
// goroutine at a time, which is not the one that sends: they may take their time. Errors are logged,
// and what failed is tried again.
type Source interface {
	// Name tells operators where entries come from: "beat_schedule", "django".
	Name() string
	// Load reads all entries. One that cannot be used comes with its Err. The entries
	// are the caller's; what they refer to does not change.
	Load(ctx context.Context) ([]*Entry, error)
	// Changed tells whether Load may return something else than it did the last time. It is asked every
	// few seconds.
	Changed(ctx context.Context) (bool, error)
	// Ran is told what has been sent, some seconds later at most, and again after an error. Of several
	// runs of an entry it may be told the last one only.
	Ran(ctx context.Context, runs []Run) error
}

// Locker is implemented by sources that share a lock with Python's schedulers (RedBeat's). A beat runs
// their entries only while it has the lock.
type Locker interface {
	// Lock takes the lock, or renews it, and tells whether it is held now. It is called every few seconds.
	Lock(ctx context.Context) (held bool, err error)
	// Unlock frees the lock, if it is held.
	Unlock(ctx context.Context) error
}

// Recorder is implemented by sources that are in the broker's own database: their runs can be written in the step
// that publishes the messages. They are told of them besides.
type Recorder interface {
	// Record is what is to be written of a run; nil: nothing can be. It may be called while other methods run.
	Record(run Run) *broker.Beside
}

// Run is what has become of an entry.
type Run struct {
	Entry *Entry
	Slot  time.Time // when it was due; zero: it did not run, but only ended
	At    time.Time // when it was sent
	Count int       // of all its runs so far
	// Ended says that the entry is not to run any more: it has expired, or it was a one-off.
	Ended bool
}
