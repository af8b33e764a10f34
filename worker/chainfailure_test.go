package worker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// named is a call of a task under its own name, which is its id, too.
func named(name string, args ...any) canvas.Signature {
	return canvas.Sig("app."+name, args...).Set(canvas.TaskID(name))
}

// What a failure means for the rest of a chain (Backend._fail_chain): every step gets its
// exception as the result, and none of them runs.
func TestStepsThatWillNotRun(t *testing.T) {
	failed := func(id, more string) string {
		return `{"status": "FAILURE", "result": ` + badValue + `, "traceback": "...", "children": []` + more + `, "task_id": "` + id + `"}`
	}
	for _, tt := range []struct {
		name    string
		call    canvas.Signature
		records map[string]string
	}{
		{
			"chain", canvas.Chain(named("fail"), named("next"), named("last")),
			map[string]string{"fail": failed("fail", ""), "next": failed("next", ""), "last": failed("last", "")},
		},
		{
			"in the middle", canvas.Chain(named("first"), named("fail").Immutable(), named("last")),
			map[string]string{
				"first": `{"status": "SUCCESS", "result": [], "traceback": null, "children": [[["fail", null], null]], "task_id": "first"}`,
				"fail":  failed("fail", `, "parent_id": "first"`), "last": failed("last", ""),
			},
		},
		{
			"a chord", canvas.Chain(named("fail"), canvas.Chord([]canvas.Signature{named("part"), named("other")}, named("body"))),
			map[string]string{"fail": failed("fail", ""), "body": failed("body", ""), "part": "", "other": ""},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				l := b.echoes("app.first", "app.next", "app.last", "app.part", "app.other", "app.body")
				b.reg.Register("app.fail", failing)
				b.start()
				b.send(tt.call)
				for id, want := range tt.records {
					b.wantRecord(id, want)
				}
				if len(l.ran) > 1 || len(l.ran) == 1 && !strings.HasPrefix(l.ran[0], "app.first ") {
					t.Errorf("ran: %q", l.ran)
				}
				b.wantQueued(0, 0)
			})
		})
	}
}

// With extended results the steps that will not run show what they would have been.
func TestExtendedRecordsOfSteps(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.ResultExtended = true
		b.reg.Register("app.fail", failing)
		b.start()
		b.send(canvas.Chain(named("fail"), named("next", 1).Kw(map[string]any{"x": 2})))
		b.wantRecord("next", `{"status": "FAILURE", "result": `+badValue+`, "traceback": "...", "children": [], `+
			`"name": "app.next", "args": [1], "kwargs": {"x": 2}, "worker": null, "retries": 0, "queue": null, "task_id": "next"}`)
	})
}

func TestAChainThatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.fail", failing)
		b.echoes("app.first")
		b.start()
		b.sendChanged(named("fail"), func(task *protocol.Task) { task.Embed.Chain = []byte(`[5]`) })
		b.wantResult("fail", "FAILURE "+badValue)
		b.wantLog("Cannot read the chain of task app.fail[fail]")
		for id, embed := range map[string]protocol.Embed{
			"chain": {Chain: []byte(`[5]`)}, "callbacks": {Callbacks: []byte(`[{"args": []}]`)},
			"form": {Callbacks: []byte(`[{"task": "app.first", "options": {"compression": "klingon"}}]`)},
		} {
			b.sendChanged(canvas.Sig("app.first").Set(canvas.TaskID(id)), func(task *protocol.Task) { task.Embed = embed })
			if got := b.result(id); !strings.HasPrefix(got, "FAILURE ") {
				t.Errorf("a task whose %s cannot be followed: %s", id, got)
			}
		}
		b.wantQueued(0, 0)
	})
}

// What a failure in a header means for the body and what follows it
// (Backend.chord_error_from_stack).
func TestChordsThatFail(t *testing.T) {
	const dependency = `"exc_type": "ChordError", "exc_message": ["Dependency fail raised ValueError('bad')"], "exc_module": "celery.exceptions"`
	chordError := func(id, traceback string) string {
		return `{"status": "FAILURE", "result": {` + dependency + `}, "traceback": ` + traceback + `, "children": [], "task_id": "` + id + `"}`
	}
	header := []canvas.Signature{named("first"), named("fail")}
	for _, tt := range []struct {
		name    string
		call    canvas.Signature
		records map[string]string // "": none
		told    []string
		ran     []string
	}{
		{"body", canvas.Chord(header, named("body")), map[string]string{"body": chordError("body", `"..."`)}, nil, nil},
		{
			"body and callback", canvas.Chord(header, named("body").Link(named("next"))),
			map[string]string{"body": chordError("body", `"..."`), "next": ""},
			nil, nil,
		},
		{
			"errbacks of the body", canvas.Chord(header, named("body", "own").LinkError(canvas.Sig("app.new"), canvas.Sig("app.old"))),
			map[string]string{"body": strings.Replace(chordError("body", `"..."`), "[]", `[[["ID", null], [[["ID", null], null]]]]`, 1)},
			[]string{"app.body[body] [\"own\"]{}: ChordError(\"Dependency fail raised ValueError('bad')\"), no traceback"},
			[]string{`app.old ["body"] parent=body root=body group`},
		},
		{
			"body that is a chain", canvas.Chord(header, canvas.Chain(named("body"), named("next"))),
			map[string]string{"body": "", "next": chordError("next", `"..."`)},
			nil, nil,
		},
		{
			"body that is a group", canvas.Chord(header, canvas.Group(named("body").LinkError(canvas.Sig("app.new")), named("next"))),
			map[string]string{
				"body": `{"status": "FAILURE", "result": ` + badValue + `, "traceback": "...", "children": [], "task_id": "body"}`,
				"next": `{"status": "FAILURE", "result": ` + badValue + `, "traceback": "...", "children": [], "task_id": "next"}`,
			},
			[]string{"unknown[body] : ValueError('bad'), no traceback"},
			nil,
		},
		{
			"a chain in the header", canvas.Chord([]canvas.Signature{canvas.Chain(named("fail"), named("next"))}, named("body")),
			map[string]string{
				"body": strings.ReplaceAll(chordError("body", `"..."`), "Dependency fail", "Dependency next"),
			},
			nil, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.cfg.Concurrency = 1
				var f failures
				l := b.echoes("app.body", "app.next", "app.old")
				b.reg.Register("app.first", func() int { return 1 })
				b.reg.Register("app.fail", failing)
				b.reg.Register("app.new", f.note, tasks.Errback())
				b.start()
				b.send(tt.call)
				for id, want := range tt.records {
					b.wantRecord(id, want)
				}
				f.want(t, tt.told...)
				l.want(t, tt.ran...)
				b.wantQueued(0, 0)
			})
		})
	}
}

// A chord whose body cannot be read has no one to tell but the log.
func TestAChordWithoutAReadableBody(t *testing.T) {
	for name, body := range map[string]string{
		"none": `{"task": "app.body", "subtask_type": "klingon"}`, "no id": `{"task": "app.body"}`,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.fail", failing)
				b.echoes("app.first")
				b.start()
				for i, task := range []string{"app.first", "app.fail"} {
					b.sendChanged(canvas.Sig(task).Set(canvas.TaskID(task+name)), func(task *protocol.Task) {
						index := 0
						task.GroupID, task.GroupIndex = fmt.Sprint("group", i), &index
						task.Embed.Chord = []byte(strings.Replace(body, `{`, `{"chord_size": 1, `, 1))
					})
				}
				b.sleep(0)
				if !strings.Contains(b.log.String(), "hord") {
					t.Errorf("nobody was told: %s", b.log.String())
				}
				b.wantQueued(0, 0)
			})
		})
	}
}
