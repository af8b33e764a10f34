package protocol

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// State is a task's state as its record and Celery's events name it. A task may store
// any other name of its own.
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

// States that have no record: outcomes of a run that only events and signals name.
const (
	Ignored  State = "IGNORED"
	Rejected State = "REJECTED"
)

// Ready says whether clients stop waiting at this state.
func (s State) Ready() bool { return s == Success || s == Failure || s == Revoked }

// Result is the record of a task (celery-task-meta-<id>).
type Result struct {
	State     State
	Result    []byte    // raw JSON; nil: null
	Traceback *string   // nil: null
	Children  []byte    // raw JSON; nil: []
	DateDone  time.Time // zero: null, which belongs to states that are not ready
	TaskID    string
	GroupID   string    // left out when ""
	ParentID  string    // left out when ""
	Extended  *Extended // nil without result_extended
}

// Extended holds the fields that result_extended adds to a record. They are all null
// in the zero value, which is what Celery writes for a task that is not registered.
type Extended struct {
	Name           string // "": null, as for the other strings, and Retries is null too
	Args           []byte // raw JSON; nil: null
	Kwargs         []byte // raw JSON; nil: null
	Worker         string // node name
	Retries        int
	Queue          string   // routing key
	StampedHeaders []string // left out when there are no Stamps
	Stamps         []byte   // raw JSON object: the value of each stamp; nil: none
}

// Append writes the record as Celery 5.7 does, with its order of fields. The raw parts
// must be JSON.
func (r *Result) Append(dst []byte) []byte {
	return r.AppendEnd(appendRaw(AppendBeforeResult(dst, r.State), r.Result, "null"))
}

// AppendBeforeResult appends the beginning of a record, up to its result: with that, and [Result.AppendEnd], it is whole.
func AppendBeforeResult(dst []byte, state State) []byte {
	dst = append(dst, `{"status": `...)
	dst = pyjson.AppendString(dst, string(state))
	return append(dst, `, "result": `...)
}

// AppendEnd appends to a record all that comes after its result.
func (r *Result) AppendEnd(dst []byte) []byte {
	dst = append(dst, `, "traceback": `...)
	if r.Traceback == nil {
		dst = append(dst, "null"...)
	} else {
		dst = pyjson.AppendString(dst, *r.Traceback)
	}
	dst = append(dst, `, "children": `...)
	dst = appendRaw(dst, r.Children, "[]")
	dst = append(dst, `, "date_done": `...)
	if r.DateDone.IsZero() {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '"')
		dst = AppendTime(dst, r.DateDone)
		dst = append(dst, '"')
	}
	if r.GroupID != "" {
		dst = append(dst, `, "group_id": `...)
		dst = pyjson.AppendString(dst, r.GroupID)
	}
	if r.ParentID != "" {
		dst = append(dst, `, "parent_id": `...)
		dst = pyjson.AppendString(dst, r.ParentID)
	}
	if r.Extended != nil {
		dst = r.Extended.append(dst)
	}
	dst = append(dst, `, "task_id": `...)
	dst = pyjson.AppendString(dst, r.TaskID)
	return append(dst, '}')
}

func (x *Extended) append(dst []byte) []byte {
	dst = append(dst, `, "name": `...)
	dst = appendText(dst, x.Name)
	dst = append(dst, `, "args": `...)
	dst = appendRaw(dst, x.Args, "null")
	dst = append(dst, `, "kwargs": `...)
	dst = appendRaw(dst, x.Kwargs, "null")
	dst = append(dst, `, "worker": `...)
	dst = appendText(dst, x.Worker)
	dst = append(dst, `, "retries": `...)
	if x.Name == "" {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, int64(x.Retries), 10)
	}
	dst = append(dst, `, "queue": `...)
	dst = appendText(dst, x.Queue)
	if x.Stamps == nil {
		return dst
	}
	dst = append(dst, `, "stamped_headers": `...)
	dst = appendStrings(dst, x.StampedHeaders)
	for name, stamp := range pyjson.Members(x.Stamps) {
		if slices.Contains(x.StampedHeaders, name) {
			dst = append(pyjson.AppendKey(dst, name), stamp...)
		}
	}
	return dst
}

// ResultTuple is how a record's children name a single task: [["<id>", null], null].
func ResultTuple(taskID string) []byte {
	return append(pyjson.AppendString([]byte("[["), taskID), ", null], null]"...)
}

// DecodeResult reads a record that Celery 3.1 or later wrote. The result shares raw's
// memory. Celery before 4.0 does not write the task's id.
func DecodeResult(raw []byte) (*Result, error) {
	var (
		r      Result
		x      Extended
		others []byte // members that may be stamps, without braces
		err    error
	)
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		if err := s.End(); err != nil {
			return nil, &DecodeError{"result", err}
		}
		return nil, &DecodeError{"result", errors.New("not a JSON object")}
	}
	for s.Next() {
		key := string(s.Key())
		switch {
		case key == "date_done":
			if r.DateDone, err = dateDone(s.Value()); err != nil {
				return nil, &DecodeError{"result.date_done", err}
			}
		case r.member(key, &s):
		case x.member(key, &s):
			r.Extended = &x
		default:
			others = append(pyjson.AppendKey(others, key), s.Value()...)
		}
	}
	if err := s.End(); err != nil {
		return nil, &DecodeError{"result", err}
	}
	if r.State == "" {
		return nil, &DecodeError{"result.status", errMissing}
	}
	if x.StampedHeaders != nil && len(others) > 0 {
		x.Stamps = append(append([]byte("{"), others...), '}')
	}
	return &r, nil
}

func (r *Result) member(key string, s *pyjson.Scanner) bool {
	switch key {
	case "status":
		r.State = State(s.Scalar())
	case "result":
		r.Result = s.Value()
	case "traceback":
		if text, ok := s.Text(); ok {
			traceback := string(text)
			r.Traceback = &traceback
		}
	case "children":
		r.Children = s.Value()
	case "task_id":
		r.TaskID = string(s.Scalar())
	case "group_id":
		r.GroupID = string(s.Scalar())
	case "parent_id":
		r.ParentID = string(s.Scalar())
	default:
		return false
	}
	return true
}

func (x *Extended) member(key string, s *pyjson.Scanner) bool {
	switch key {
	case "name":
		x.Name = string(s.Scalar())
	case "args":
		x.Args = s.Value()
	case "kwargs":
		x.Kwargs = s.Value()
	case "worker":
		x.Worker = string(s.Scalar())
	case "retries":
		x.Retries, _ = integer(s.Value())
	case "queue":
		x.Queue = string(s.Scalar())
	case "stamped_headers":
		x.StampedHeaders = stringArray(s.Value())
	default:
		return false
	}
	return true
}

func dateDone(raw []byte) (time.Time, error) {
	if isNull(raw) {
		return time.Time{}, nil
	}
	text, err := pyjson.Unquote(raw)
	if err != nil {
		return time.Time{}, err
	}
	return ParseTime(text, time.UTC)
}
