package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// TaskState says where in the worker a task is.
type TaskState string

// The states of tasks that a worker holds, in the words of Celery's query_task.
const (
	StateActive    TaskState = "active"    // its handler runs
	StateReserved  TaskState = "reserved"  // waits for a slot
	StateScheduled TaskState = "scheduled" // waits for its ETA, or has and waits for its rate limit
)

// TaskInfo is a task that a worker holds.
type TaskInfo struct {
	*protocol.Task // treat it as read-only
	State          TaskState
	Started        time.Time // zero: not yet
	PID            int       // of the process that runs it; 0: it does not run yet
	Acknowledged   bool
}

// Active returns the tasks whose handlers run, the longest-running first.
func (o *Operations) Active() []TaskInfo {
	running := o.runner.active()
	slices.SortFunc(running, func(a, b *request) int { return a.started.Compare(b.started) })
	return o.infos(running, StateActive)
}

// Reserved returns the tasks that wait for a slot, in their order.
func (o *Operations) Reserved() []TaskInfo { return o.infos(o.runner.list(), StateReserved) }

// Scheduled returns the tasks that wait for their ETA, the next first, and at most limit:
// those in memory, and those that the broker keeps for later, if it can list them. These
// are nobody's yet: every worker that consumes their queue lists them. With an error come
// those in memory.
func (o *Operations) Scheduled(ctx context.Context, limit int) ([]TaskInfo, error) {
	list := o.infos(o.schedule.memory.list(limit), StateScheduled)
	if o.able.ParkedLister == nil || len(list) >= limit {
		return list, nil
	}
	seen := map[string]bool{}
	for _, t := range list {
		seen[t.ID] = true
	}
	parked, err := o.able.ParkedLister.ListParked(ctx, limit-len(list))
	reading, cancel := context.WithTimeout(ctx, readParkedWithin)
	defer cancel()
	for _, p := range parked {
		task, err := o.readParked(reading, p.Content)
		if err != nil || seen[task.ID] || task.ETA.IsZero() { // without an ETA it waits for something else
			continue
		}
		list = append(list, TaskInfo{Task: task, State: StateScheduled})
	}
	return list, err
}

// readParkedWithin is how long Scheduled has bodies read by an executor. What is not read by then is not listed.
const readParkedWithin = 2 * time.Second

// readParked reads a message as far as it can be: without the arguments, if only an executor can read these.
func (o *Operations) readParked(ctx context.Context, message broker.Content) (*protocol.Task, error) {
	task, err := read(o.decoder, message, new(protocol.Task))
	if o.reading != nil && needsTelling(task, err) {
		return o.reading.tell(ctx, message)
	}
	if err == nil {
		if err = o.decoder.DecodeBody(task); protocol.OfBody(err) && errors.As(err, new(*protocol.UnreadableError)) {
			err = nil
		}
	}
	return task, err
}

// Find returns those of the tasks with these ids that the worker holds. As in Celery,
// tasks that wait for their rate limit are only found if they had an ETA.
func (o *Operations) Find(ids ...string) []TaskInfo {
	held := o.held()
	found := make([]TaskInfo, 0, len(ids))
	for _, id := range ids {
		if info, ok := held[id]; ok {
			found = append(found, info)
		}
	}
	return found
}

// held returns the tasks that Celery's worker_state.requests holds, by id.
func (o *Operations) held() map[string]TaskInfo {
	held := map[string]TaskInfo{}
	add := func(requests []*request, state TaskState) {
		for _, info := range o.infos(requests, state) {
			held[info.ID] = info
		}
	}
	add(slices.DeleteFunc(o.limits.list(), func(r *request) bool { return r.ETA.IsZero() }), StateScheduled)
	add(o.schedule.memory.list(0), StateScheduled)
	add(o.runner.list(), StateReserved)
	add(o.runner.active(), StateActive) // the last: a request that goes on meanwhile is found further on
	return held
}

// Prefetch is how many messages the worker may hold unacknowledged for the pool (Config.Pool). As in
// Celery, one that waits for its ETA makes room for another.
func (o *Operations) Prefetch() int {
	return o.runner.main.backlog.configured() + o.schedule.memory.len()
}

// ExecutorState is what an executor of the worker is doing right now.
type ExecutorState struct {
	Name string // "": the one that runs Go handlers
	Pool bool   // it is the one that operators mean (Config.Pool)
	ExecutorInfo
	Slots    int
	Active   int // requests running
	Reserved int // requests waiting for a slot
	Prefetch int // how many requests it may hold unacknowledged
	// Runs says how many requests each slot has taken, the busiest first.
	Runs []int64
}

// Executors tells of all executors; the one that runs Go handlers is the first.
func (o *Operations) Executors() []ExecutorState {
	states := make([]ExecutorState, len(o.runner.pools))
	for i, p := range o.runner.pools {
		states[i] = ExecutorState{
			Name: p.name, Pool: p == o.runner.main, ExecutorInfo: p.executor.Info(), Slots: p.slots.size(), Active: len(p.slots.active()), Reserved: p.backlog.waiting(),
			Prefetch: p.backlog.configured(), Runs: p.slots.runs(),
		}
	}
	return states
}

func (o *Operations) infos(requests []*request, state TaskState) []TaskInfo {
	list := make([]TaskInfo, 0, len(requests))
	for _, r := range requests {
		info := TaskInfo{Task: r.withBody(o.decoder), State: state}
		if state == StateActive {
			info.Started, info.PID, info.Acknowledged = r.started, r.pid, !r.acksLate
		}
		list = append(list, info)
	}
	return list
}
