package cli

import (
	"container/list"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
)

// seenTasks bounds the tasks that a view of events knows, as Celery's does (celery/events/state.py).
const seenTasks = 10_000

// eventState is what events tell of workers and tasks.
type eventState struct {
	workers map[string]*seenWorker
	tasks   map[string]*list.Element // of order
	order   *list.List               // of *seenTask; the latest to change is in front
	total   int                      // events
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
	id, state, worker string
	changed           time.Time
	times             [len(taskEvents)]float64 // when each event of it happened
	fields            protocol.Event           // what else its events say
}

// text is a field as Python prints it; "": no event says it.
func (t *seenTask) text(name string) string {
	if raw := t.fields[name]; raw != nil && string(raw) != "null" {
		return pythonText(raw)
	}
	return ""
}

// outcome is what came of a task: its result, or its exception.
func (t *seenTask) outcome() string {
	if t.state == "SUCCESS" {
		return t.text("result")
	}
	return t.text("exception")
}

// taskEvents are the events of tasks and the states that they stand for, in the order of
// celery/states.py: an event that comes late does not take a task back to a state before.
var taskEvents = [...]struct{ kind, state string }{
	{"succeeded", "SUCCESS"},
	{"failed", "FAILURE"},
	{"revoked", "REVOKED"},
	{"started", "STARTED"},
	{"received", "RECEIVED"},
	{"rejected", "REJECTED"},
	{"retried", "RETRY"},
	{"sent", "PENDING"},
}

func newEventState() *eventState {
	return &eventState{workers: map[string]*seenWorker{}, tasks: map[string]*list.Element{}, order: list.New()}
}

func (s *eventState) event(e protocol.Event, now time.Time) {
	s.total++
	kind := strings.ToLower(e.Text("type"))
	if kind != "task-sent" { // which a client sends
		s.worker(kind, e, now)
	}
	if kind, isTask := strings.CutPrefix(kind, "task-"); isTask {
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
	place := s.tasks[id]
	if place == nil {
		place = s.order.PushFront(&seenTask{id: id, fields: protocol.Event{}})
		s.tasks[id] = place
	}
	s.order.MoveToFront(place)
	if s.order.Len() > seenTasks {
		oldest := s.order.Back()
		delete(s.tasks, taskAt(oldest).id)
		s.order.Remove(oldest)
	}
	t := taskAt(place)
	t.changed = now
	if kind != "sent" {
		t.worker = e.Text("hostname")
	}
	if i := stateOf(kind); i >= 0 {
		t.times[i] = e.Number("timestamp")
		known := slices.IndexFunc(taskEvents[:], func(known struct{ kind, state string }) bool { return known.state == t.state })
		if known < 0 || i <= known || taskEvents[i].state == "RETRY" || t.state == "RETRY" {
			t.state = taskEvents[i].state
		}
	}
	for name, value := range e {
		switch name {
		case "type", "uuid", "hostname", "timestamp", "local_received", "utcoffset", "clock", "pid":
		default:
			t.fields[name] = value
		}
	}
}

// stateOf is the place of an event in taskEvents, or -1.
func stateOf(kind string) int {
	return slices.IndexFunc(taskEvents[:], func(known struct{ kind, state string }) bool { return known.kind == kind })
}

// taskAt is a task in the order; nil: there is none.
func taskAt(place *list.Element) *seenTask {
	if place == nil {
		return nil
	}
	t, _ := place.Value.(*seenTask)
	return t
}

// sortedWorkers returns the workers by name.
func (s *eventState) sortedWorkers() []*seenWorker {
	var all []*seenWorker
	for _, name := range slices.Sorted(maps.Keys(s.workers)) {
		all = append(all, s.workers[name])
	}
	return all
}
