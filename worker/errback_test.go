package worker_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// failures are what tasks of Errback's form have been told.
type failures struct{ told []string }

func (f *failures) note(_ context.Context, failed tasks.Failure) error {
	exception := "nothing"
	if failed.Exception != nil {
		exception = failed.Exception.Repr()
	}
	traceback := "no traceback"
	if strings.HasPrefix(failed.Traceback, "Traceback (most recent call last):") {
		traceback = "a traceback"
	}
	f.told = append(f.told, fmt.Sprintf("%s[%s] %s%s: %s, %s", failed.Request.Name, failed.Request.ID,
		failed.Request.Args, failed.Request.Kwargs, exception, traceback))
	return nil
}

func (f *failures) want(t *testing.T, told ...string) {
	t.Helper()
	if got, want := strings.Join(f.told, "\n"), strings.Join(told, "\n"); got != want {
		t.Errorf("errbacks were told\n%s\nwant\n%s", got, want)
	}
}

// What a failure leads to (Backend._call_task_errbacks): errbacks of the new style are called
// where the task has failed, all others are published with the id of the failed task.
func TestErrbacks(t *testing.T) {
	failed := func(errbacks ...canvas.Signature) canvas.Signature {
		return canvas.Sig("app.fail", 1).Set(canvas.TaskID("it")).LinkError(errbacks...)
	}
	const told = "app.fail[it] [1]{}: ValueError('bad'), a traceback"
	for _, tt := range []struct {
		name string
		call canvas.Signature
		told []string
		ran  []string
	}{
		{"new", failed(canvas.Sig("app.new")), []string{told}, nil},
		{"new twice", failed(canvas.Sig("app.new"), canvas.Sig("app.new", 2)), []string{told, told}, nil},
		{"old", failed(canvas.Sig("app.old")), nil, []string{`app.old ["it"] parent=it root=it group`}},
		{"old with arguments", failed(canvas.Sig("app.old", "own")), nil, []string{`app.old ["it", "own"] parent=it root=it group`}},
		{"immutable", failed(canvas.Sig("app.old", "own").Immutable()), nil, []string{`app.old ["own"] parent=it root=it group`}},
		{
			"of both kinds", failed(canvas.Sig("app.old"), canvas.Sig("app.new"), canvas.Sig("app.other")),
			[]string{told},
			[]string{`app.old ["it"] parent=it root=it group`, `app.other ["it"] parent=it root=it group`},
		},
		{
			"of an errback", failed(canvas.Sig("app.fail").Set(canvas.TaskID("errback")).LinkError(canvas.Sig("app.old"))), nil,
			[]string{`app.old ["errback"] parent=errback root=it group`},
		},
		{
			"a chain", failed(canvas.Chain(canvas.Sig("app.old").Set(canvas.TaskID("first")), canvas.Sig("app.other"))), nil,
			[]string{`app.old ["it"] parent=it root=it`, `app.other [["it"]] parent=first root=it group`},
		},
		{"of a success", canvas.Sig("app.other").LinkError(canvas.Sig("app.old"), canvas.Sig("app.new")).Set(canvas.TaskID("it")), nil, []string{"app.other []"}},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late: %v", tt.name, late), func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bench) {
					b.cfg.Concurrency = 1
					var f failures
					l := b.echoes("app.old", "app.other")
					b.reg.Register("app.new", f.note, tasks.Errback())
					b.reg.Register("app.fail", func(any) error { return failing() }, tasks.Params("arg=None"), tasks.AcksLate(late))
					b.start()
					b.send(tt.call)
					l.want(t, tt.ran...)
					f.want(t, tt.told...)
					if tt.name != "of a success" { // errbacks are no children
						b.wantRecord("it", `{"status": "FAILURE", "result": `+badValue+`, "traceback": "...", "children": [], "task_id": "it"}`)
					}
					b.wantQueued(0, 0)
				})
			})
		}
	}
}

// An errback is called when its failure can be read from the backend.
func TestErrbackComesAfterTheRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var called, ran string
		b.reg.Register("app.new", func(_ context.Context, failed tasks.Failure) error {
			called = b.result(failed.Request.ID)
			return nil
		}, tasks.Errback())
		b.reg.Register("app.old", func(id string) { ran = b.result(id) })
		b.reg.Register("app.fail", failing)
		b.start()
		b.send(canvas.Sig("app.fail").LinkError(canvas.Sig("app.new"), canvas.Sig("app.old")))
		if want := "FAILURE " + badValue; called != want || ran != want {
			t.Errorf("errbacks found %q and %q", called, ran)
		}
	})
}

// What is wrong with an errback is logged, and changes nothing else.
func TestErrbacksThatFail(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var f failures
		b.reg.Register("app.bad", func(context.Context, tasks.Failure) error { return tasks.Raise("KeyError", "lost") }, tasks.Errback())
		b.reg.Register("app.panics", func(context.Context, tasks.Failure) error { panic("ouch") }, tasks.Errback())
		b.reg.Register("app.ends", func(context.Context, tasks.Failure) error { runtime.Goexit(); return nil }, tasks.Errback())
		b.reg.Register("app.new", f.note, tasks.Errback())
		b.reg.Register("app.fail", failing)
		b.start()
		id := b.send(canvas.Sig("app.fail").LinkError(canvas.Sig("app.bad"), canvas.Sig("app.panics"), canvas.Sig("app.ends"), canvas.Sig("app.new")))
		b.wantResult(id, "FAILURE "+badValue)
		b.wantLog("Errback 'app.bad' raised an exception: KeyError('lost')")
		b.wantLog("Errback 'app.panics' raised an exception: RuntimeError('ouch')")
		b.wantLog("Errback 'app.ends' raised an exception: WorkerLostError(")
		b.wantEvents("received", "started", "failed ValueError")
		if len(f.told) != 1 {
			t.Errorf("the last errback was called %d times, want once", len(f.told))
		}
	})
}

// An errback that comes as a message has the id of the failed task, and reads the rest from
// its record.
func TestErrbackAsAMessage(t *testing.T) {
	stored := func(state protocol.State, result string) []byte {
		traceback := "Traceback (most recent call last):\n"
		rec := protocol.Result{State: state, Result: []byte(result), TaskID: "it"}
		if state == protocol.Failure {
			rec.Traceback = &traceback
		}
		return rec.Append(nil)
	}
	for _, tt := range []struct {
		name   string
		record []byte
		args   []any
		told   string
	}{
		{"known", stored(protocol.Failure, badValue), []any{"it"}, "[it] : ValueError('bad'), a traceback"},
		{"without a record", nil, []any{"it"}, "[it] : nothing, no traceback"},
		{"of a success", stored(protocol.Success, "1"), []any{"it"}, "[it] : nothing, no traceback"},
		{"unreadable", []byte("{"), []any{"it"}, "[it] : nothing, no traceback"},
		{"without an id", nil, nil, "[] : nothing, no traceback"},
		{"of a number", nil, []any{5}, "[] : nothing, no traceback"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				var f failures
				b.reg.Register("app.new", f.note, tasks.Errback())
				if tt.record != nil {
					if err := b.results.Store(t.Context(), backend.Record{TaskID: "it", Document: tt.record}); err != nil {
						t.Fatal(err)
					}
				}
				b.start()
				b.wantResult(b.send(canvas.Sig("app.new", tt.args...)), "SUCCESS null")
				f.want(t, tt.told)
			})
		})
	}
	t.Run("without a backend", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bench) {
			var f failures
			b.cfg.Store = nil
			b.reg.Register("app.new", f.note, tasks.Errback())
			b.start()
			b.send(canvas.Sig("app.new", "it"))
			f.want(t, "[it] : nothing, no traceback")
		})
	})
}

// The task itself fails all the same if its errbacks cannot be read or published.
func TestErrbacksThatCannotBeCalled(t *testing.T) {
	for _, tt := range []struct{ name, errbacks, log string }{
		{"no signature", `[{"args": [1]}]`, "Cannot read the errbacks of task app.fail[it]"},
		{"of an unknown kind", `[{"task": "app.old", "subtask_type": "klingon"}]`, "Cannot read the errbacks of task app.fail[it]"},
		{"in an unknown form", `[{"task": "app.old", "options": {"serializer": "klingon"}}]`, "Cannot publish the errbacks of task it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.fail", failing)
				b.start()
				b.sendChanged(canvas.Sig("app.fail").Set(canvas.TaskID("it")), func(task *protocol.Task) { task.Embed.Errbacks = []byte(tt.errbacks) })
				b.wantResult("it", "FAILURE "+badValue)
				b.wantLog(tt.log)
				b.wantQueued(0, 0)
			})
		})
	}
}
