package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// redeliver marks what waits as having been with a worker before. The worker has not started.
func (b *bench) redeliver() {
	b.t.Helper()
	consumer := b.broker.Consumer(queue)
	ds, err := consumer.Claim(b.t.Context(), 10)
	if err == nil {
		err = consumer.Requeue(b.t.Context(), broker.Front, ds...)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// What is known of a task decides whether its redelivered message runs
// (worker_deduplicate_successful_tasks).
func TestDeduplication(t *testing.T) {
	record := func(state, children string) []byte {
		return []byte(`{"status": "` + state + `", "result": [7], "traceback": null, "children": ` + children + `, "task_id": "do"}`)
	}
	const follows, told = "app.next [[7]] parent=do root=do", "Task app.do[do] Task already completed successfully."
	for _, tt := range []struct {
		name   string
		record []byte
		late   bool
		off    bool
		ran    string
		log    string
	}{
		{"has succeeded", record("SUCCESS", "[]"), true, false, follows, told},
		{"has succeeded with children", record("SUCCESS", `[[["next", null], null]]`), true, false, "", told},
		{"has failed", record("FAILURE", "[]"), true, false, "app.do []\napp.next [[]] parent=do root=do", "received"},
		{"unknown", nil, true, false, "app.do []\napp.next [[]] parent=do root=do", "received"},
		{"unreadable", []byte("{"), true, false, "app.do []\napp.next [[]] parent=do root=do", "received"},
		{"acknowledged early", record("SUCCESS", "[]"), false, false, "app.do []\napp.next [[]] parent=do root=do", "received"},
		{"switched off", record("SUCCESS", "[]"), true, true, "app.do []\napp.next [[]] parent=do root=do", "received"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.Deduplicate = !tt.off
				b.cfg.Defaults.AcksLate = &tt.late
				l := b.echoes("app.do", "app.next")
				if tt.record != nil {
					if err := b.results.Store(t.Context(), backend.Record{TaskID: "do", Document: tt.record}); err != nil {
						t.Fatal(err)
					}
				}
				b.send(named("do").Link(named("next")))
				b.redeliver()
				b.start()
				l.want(t, strings.FieldsFunc(tt.ran, func(r rune) bool { return r == '\n' })...)
				b.wantLog(tt.log)
				b.wantQueued(0, 0)
			})
		})
	}
}

// A worker remembers for itself what has succeeded with it, and needs no backend for that.
func TestDeduplicationFromMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Deduplicate, b.cfg.Store = true, nil
		runs := 0
		b.reg.Register("app.late", func() { runs++ }, tasks.AcksLate(true))
		b.send(named("late"))
		b.send(named("late"))
		other := b.broker.Consumer(queue)
		ds, err := other.Claim(t.Context(), 2)
		if err != nil || len(ds) != 2 {
			t.Fatal(ds, err)
		}
		b.start()
		for _, d := range ds {
			if err := other.Requeue(t.Context(), broker.Front, d); err != nil {
				t.Fatal(err)
			}
			b.sleep(time.Second)
		}
		if runs != 1 {
			t.Errorf("the task ran %d times, want once", runs)
		}
		b.wantQueued(0, 0)
	})
}

// What should have followed and cannot be read is told to the log.
func TestDeduplicationWithoutWhatFollows(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Deduplicate = true
		runs := 0
		b.reg.Register("app.do", func() { runs++ }, tasks.AcksLate(true))
		record := []byte(`{"status": "SUCCESS", "result": 1, "children": [], "task_id": "do"}`)
		if err := b.results.Store(t.Context(), backend.Record{TaskID: "do", Document: record}); err != nil {
			t.Fatal(err)
		}
		b.sendChanged(named("do"), func(task *protocol.Task) { task.Embed.Callbacks = []byte(`[{"args": []}]`) })
		b.redeliver()
		b.start()
		if runs != 0 {
			t.Errorf("the task ran again")
		}
		b.wantLog("Failed to dispatch chain/callbacks for deduplicated task do: ")
		b.wantQueued(0, 0)
	})
}

// A process that is lost after it has stored its task's success has failed nobody: nothing is told of a
// failure, and what would come again does not.
func TestProcessLostAfterSuccess(t *testing.T) {
	again := []tasks.Option{tasks.AcksLate(true), tasks.RejectOnWorkerLost(true)}
	for name, opts := range map[string][]tasks.Option{"early": nil, "late": again, "ignored": {tasks.IgnoreResult(true)}} {
		t.Run(name, func(t *testing.T) {
			e := &processes{}
			var results backend.Store
			e.tasks = map[string]func(*process, *worker.Run) worker.Outcome{"py.task": func(p *process, run *worker.Run) worker.Outcome {
				record := backend.Record{TaskID: run.ID, Document: []byte(`{"status": "SUCCESS", "result": [7, "a"], "traceback": null, "children": []}`)}
				if err := results.Store(context.Background(), record); err != nil {
					t.Error(err)
				}
				p.died <- "exitcode 1"
				return p.works(run, time.Hour)
			}}
			withProcesses(t, 1, map[string][]tasks.Option{"py.task": opts}, e, func(t *testing.T, b *bench) {
				results = b.results
				b.start()
				b.send(canvas.Sig("py.task").LinkError(canvas.Sig("no.such")))
				if name == "ignored" { // nobody knows
					b.wantEvents("received", "started", "failed WorkerLostError", "failed NotRegistered")
					return
				}
				b.wantEvents("received", "started", "succeeded")
				b.wantLog(" succeeded before the worker was lost: WorkerLostError('Worker exited prematurely: exitcode 1.')")
				b.wantQueued(0, 0)
			})
		})
	}
}
