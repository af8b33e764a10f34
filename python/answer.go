package python

import (
	"encoding/json"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/worker"
)

// answer is what a child says has become of a job: driver/outcome.py.
type answer struct {
	State     string          `json:"state"`
	Repr      *string         `json:"repr"`
	Runtime   float64         `json:"runtime"` // in seconds
	Exception string          `json:"exception"`
	Type      string          `json:"type"`
	Module    string          `json:"module"`
	Message   json.RawMessage `json:"message"`
	Traceback string          `json:"traceback"`
	Requeue   bool            `json:"requeue"`
	Rejects   bool            `json:"rejects"` // the message, and so fails
	Status    string          `json:"status"`  // how a task ends its process: "exitcode 4"
	Leaving   bool            `json:"leaving"` // the child ends now
	Result    string          `json:"result"`  // what the task has returned, in JSON, if that is wanted
	Part      string          `json:"part"`    // the result's JSON, if the worker is to count the task as a part of its chord

	record []byte
	err    error // the job could not be written down
	lost   bool  // the child has ended without an answer
	job    uint64
	begun  bool // and it may have begun the job

	claimed time.Duration // it has left a chord claimed, for so long
}

// States that are none of a task's.
const (
	raised = "RAISED" // Celery's tracer itself has raised an exception
	exits  = "EXITS"  // the task ends its process, which still answers for it
)

// outcome is what the answer of a child means to the worker.
func (a *answer) outcome(c *child) worker.Outcome {
	switch {
	case a.err != nil:
		return worker.Outcome{Err: a.err}
	case a.lost:
		return worker.Outcome{Err: &worker.LostError{Status: statusText(c.exit.code), Job: a.job, Claimed: a.claimed}}
	}
	exc := &protocol.Exception{
		Type: a.Type, Module: a.Module, Message: a.Message, Traceback: a.Traceback, Representation: a.Exception,
	}
	switch a.State {
	case raised:
		return worker.Outcome{Err: exc}
	case exits:
		return worker.Outcome{Err: &worker.LostError{Status: a.Status}}
	}
	settled := &worker.Settled{
		State: protocol.State(a.State), Rejects: a.Rejects, Requeue: a.Requeue, Runtime: time.Duration(a.Runtime * float64(time.Second)),
	}
	if len(a.record) > 0 {
		settled.Record = a.record
	}
	if a.Part != "" {
		settled.Part = []byte(a.Part)
	}
	if a.Repr != nil {
		settled.Repr = *a.Repr
	}
	if a.Exception != "" {
		settled.Exception = exc
	}
	if a.Result != "" {
		return worker.Outcome{Settled: settled, Result: json.RawMessage(a.Result)}
	}
	return worker.Outcome{Settled: settled}
}
