// Package backend says what a worker and a client need of a result backend.
//
// The implementations are redisbackend (Redis, in Celery's layout), sqlbackend (SQL databases, in two) and membackend
// (in memory, for tests). backendtest holds the tests every implementation passes.
package backend

import (
	"cmp"
	"context"
	"errors"

	"github.com/apium/apium/protocol"
)

// ErrNotFound is returned by Load and Wait's callers for a task without a record:
// in Celery's words, a task whose state is PENDING.
var ErrNotFound = errors.New("backend: no result")

// ErrUnreadable is in the errors about what is stored and will never be read: it is
// compressed in an unknown way, say, or in another format. Reading it again is no use.
var ErrUnreadable = errors.New("backend: unreadable")

// Record is the task-meta document of one task.
type Record struct {
	TaskID   string
	Document []byte // JSON; a store may translate it
	Encoded  []byte // what an Encoder has made of it; nil: Store does
	// Task is the message, for stores that keep of it what is not in the document; nil: not known.
	Task *protocol.Task
	// ReplyTo is where whoever sent the task waits for its records, for stores that send them: a queue.
	// "": Task's.
	ReplyTo string
}

// Address is where the record is sent to, for stores that send them; replyTo is "" if nobody waits for it.
func (r *Record) Address() (replyTo, correlationID string) {
	replyTo, correlationID = r.ReplyTo, r.TaskID
	if r.Task != nil {
		replyTo, correlationID = cmp.Or(replyTo, r.Task.ReplyTo), cmp.Or(r.Task.CorrelationID, correlationID)
	}
	return replyTo, correlationID
}

// RecordError is a record that can never be stored, whatever the backend's
// health: too large, say. errors.As finds it in what Store returns.
type RecordError struct {
	TaskID string
	Err    error
}

func (e *RecordError) Error() string {
	return "backend: result of task " + e.TaskID + ": " + e.Err.Error()
}

func (e *RecordError) Unwrap() error { return e.Err }

// Store writes result records.
type Store interface {
	// Store writes records in the given order, in one round trip, and wakes the
	// clients that wait for them. A task whose SUCCESS is stored already is left
	// alone, silently: SUCCESS is final.
	//
	// After a failure of the backend the whole call may be repeated: storing a
	// record again is harmless. When only single records were refused for good,
	// all others are stored and the error joins one *RecordError for each.
	// Store does not keep the documents.
	Store(ctx context.Context, records ...Record) error
	Close() error
}

// Encoder is implemented by stores that may keep records in another form: in a serializer
// that does not have every value JSON has, or compressed.
type Encoder interface {
	// Encode encodes a record as Store would, so that Store need not do it again. The error
	// says which value of the task's result has no form.
	Encode(Record) (Record, error)
}

// Mailbox is implemented by Loaders that are sent the records of tasks, and so only know of tasks that
// were published with their address.
type Mailbox interface {
	// ReplyTo is the reply_to of such tasks.
	ReplyTo() string
	// Receive makes sure that records are kept from now on. It must return before the first of the
	// tasks is published; later calls cost nothing.
	Receive(ctx context.Context) error
}

// Cleaner is implemented by stores whose records do not expire by themselves.
type Cleaner interface {
	// Cleanup deletes the records that have expired, of tasks and groups, and returns how many
	// (celery.backend_cleanup). What was deleted before an error stays deleted.
	Cleanup(ctx context.Context) (deleted int64, err error)
}

// Loader reads result records.
type Loader interface {
	// Load returns the record of a task, as JSON, or ErrNotFound.
	Load(ctx context.Context, taskID string) ([]byte, error)
	// Wait blocks until the task has a record in a ready state (SUCCESS, FAILURE
	// or REVOKED), or ctx is done.
	Wait(ctx context.Context, taskID string) ([]byte, error)
	// Watch is Wait that also shows the records of other states (STARTED, RETRY,
	// a task's own) to a function: the present one, and those stored while it
	// waits, in order. When they come faster than it returns, older ones are left out.
	Watch(ctx context.Context, taskID string, unready func(record []byte)) ([]byte, error)
	// LoadMany returns the records of many tasks, nil for those that have none.
	LoadMany(ctx context.Context, taskIDs ...string) ([][]byte, error)
	// Forget deletes the records of tasks.
	Forget(ctx context.Context, taskIDs ...string) error
}
