package worker_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// ends notes of each end of a task what its record is at that moment, and who tells of a failure.
type ends struct {
	b *bench

	mu   sync.Mutex
	seen []string
}

func (e *ends) Observe(ev worker.Event) {
	if ev.Kind != worker.Failed && ev.Kind != worker.Revoked {
		return
	}
	state := "nothing"
	if raw, err := e.b.results.Load(e.b.t.Context(), ev.Task.ID); err == nil {
		if record, err := protocol.DecodeResult(raw); err == nil {
			state = string(record.State)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, fmt.Sprintf("%s %s: told %t, refused %t", ev.Task.Name, state, ev.Told, ev.Refused))
}

// Who is told of an end finds its record, whatever has ended the task; and what the executor has told of
// can be told from what it has not, and that from what was refused.
func TestEndsAreToldWhenTheyAreStored(t *testing.T) {
	long := func(p *process, run *worker.Run) worker.Outcome { return p.works(run, time.Hour) }
	e := &processes{boots: time.Second, tasks: map[string]func(*process, *worker.Run) worker.Outcome{
		"py.dies": func(p *process, run *worker.Run) worker.Outcome {
			p.died <- "exitcode 1"
			return long(p, run)
		},
		"py.long": long, "py.ended": long,
		"py.fails": func(p *process, run *worker.Run) worker.Outcome {
			run.Begin(t.Context(), p.pid)
			record := []byte(fmt.Sprintf(`{"status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": [], "exc_module": "builtins"}, "traceback": null, "children": [], "date_done": null, "task_id": %q}`, run.ID))
			return worker.Outcome{Settled: &worker.Settled{
				State: protocol.Failure, Record: record, Exception: &protocol.Exception{Type: "ValueError", Module: "builtins"},
			}}
		},
	}}
	opts := map[string][]tasks.Option{"py.long": {tasks.TimeLimit(time.Second)}}
	withProcesses(t, 1, opts, e, func(t *testing.T, b *bench) {
		heard := &ends{b: b}
		b.cfg.Observers = append(b.cfg.Observers, heard)
		b.start()
		for _, name := range []string{"py.dies", "py.long", "py.fails"} {
			b.send(canvas.Sig(name))
			b.sleep(time.Minute)
		}
		id := b.send(canvas.Sig("py.ended"))
		b.sleep(time.Minute)
		if _, err := b.w.Operations().Terminate(15, id); err != nil {
			t.Fatal(err)
		}
		b.sleep(time.Minute)
		b.publish(`{"body": "W1tdLCB7fSwge31d", "headers": {"task": "py.dies", "id": "1", "eta": "soon"}, "content-type": "application/json", ` +
			`"content-encoding": "utf-8", "properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64"}}`)
		b.sleep(time.Minute)
		want := []string{
			"py.dies FAILURE: told false, refused false",
			"py.long FAILURE: told false, refused false",
			"py.fails FAILURE: told true, refused false",
			"py.ended REVOKED: told false, refused false",
			"py.dies FAILURE: told false, refused true",
		}
		heard.mu.Lock()
		defer heard.mu.Unlock()
		if !slices.Equal(heard.seen, want) {
			t.Errorf("heard\n%q\nwant\n%q", heard.seen, want)
		}
	})
}
