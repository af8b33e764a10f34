package cli

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
)

// seenTasks bounds the tasks that a view of events knows.
const seenTasks = 1000

// eventState is what events tell of workers and tasks (celery/events/state.py).
type eventState struct {
	workers map[string]*seenWorker
	tasks   map[string]*seenTask
	order   []*seenTask // the latest to change is the last
	total   int         // events
}

type seenWorker struct {
	name      string
	offline   bool
	heard     time.Time
	freq      time.Duration // of heartbeats
	active    float64
	processed float64
	load      []byte // raw JSON list; nil: not known
	software  string
}

// alive says whether a worker was heard in the time of two heartbeats.
func (w *seenWorker) alive(now time.Time) bool {
	return !w.offline && now.Before(w.heard.Add(2*w.freq))
}

type seenTask struct {
	id, name, state, worker string
	args, kwargs, outcome   string
	runtime                 float64 // seconds; 0: not known
	changed                 time.Time
}

// taskStates are the states that events stand for.
var taskStates = map[string]string{
	"task-sent": "PENDING", "task-received": "RECEIVED", "task-started": "STARTED", "task-succeeded": "SUCCESS",
	"task-failed": "FAILURE", "task-retried": "RETRY", "task-rejected": "REJECTED", "task-revoked": "REVOKED",
}

func newEventState() *eventState {
	return &eventState{workers: map[string]*seenWorker{}, tasks: map[string]*seenTask{}}
}

func (s *eventState) event(e protocol.Event, now time.Time) {
	s.total++
	kind := strings.ToLower(e.Text("type"))
	if kind != "task-sent" { // which a client sends
		s.worker(kind, e, now)
	}
	if strings.HasPrefix(kind, "task-") {
		s.task(kind, e, now)
	}
}

func (s *eventState) worker(kind string, e protocol.Event, now time.Time) {
	name := e.Text("hostname")
	w := s.workers[name]
	if w == nil {
		w = &seenWorker{name: name, freq: time.Minute}
		s.workers[name] = w
	}
	w.heard, w.offline = now, kind == "worker-offline"
	if !strings.HasPrefix(kind, "worker-") {
		return
	}
	if freq := e.Number("freq"); freq > 0 && freq < 1e6 {
		w.freq = time.Duration(freq * float64(time.Second))
	}
	if e["active"] != nil {
		w.active, w.processed = e.Number("active"), e.Number("processed")
	}
	if e["loadavg"] != nil {
		w.load = e["loadavg"]
	}
	if e["sw_ident"] == nil {
		return
	}
	w.software = strings.TrimSpace(e.Text("sw_ident") + " " + e.Text("sw_ver"))
}

func (s *eventState) task(kind string, e protocol.Event, now time.Time) {
	id := e.Text("uuid")
	t := s.tasks[id]
	if t == nil {
		t = &seenTask{id: id}
		s.tasks[id] = t
	} else if i := slices.Index(s.order, t); i >= 0 {
		s.order = slices.Delete(s.order, i, i+1)
	}
	s.order = append(s.order, t)
	if len(s.order) > seenTasks {
		delete(s.tasks, s.order[0].id)
		s.order = slices.Delete(s.order, 0, 1)
	}
	t.changed = now
	if state := taskStates[kind]; state != "" {
		t.state = state
	}
	if kind != "task-sent" {
		t.worker = e.Text("hostname")
	}
	set := func(field *string, name string) {
		if e[name] != nil {
			*field = pythonText(e[name])
		}
	}
	set(&t.name, "name")
	set(&t.args, "args")
	set(&t.kwargs, "kwargs")
	set(&t.outcome, "exception")
	set(&t.outcome, "result")
	if e["runtime"] != nil {
		t.runtime = e.Number("runtime")
	}
}

// sortedWorkers returns the workers by name.
func (s *eventState) sortedWorkers() []*seenWorker {
	var all []*seenWorker
	for _, name := range slices.Sorted(maps.Keys(s.workers)) {
		all = append(all, s.workers[name])
	}
	return all
}
