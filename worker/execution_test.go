package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// bothWays runs a test for tasks that are acknowledged early and late, which are settled in
// different ways.
func bothWays(t *testing.T, test func(t *testing.T, b *bench, late tasks.Option)) {
	t.Helper()
	for name, late := range map[string]bool{"early": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) { test(t, b, tasks.AcksLate(late)) })
		})
	}
}

// What a task publishes is its child, and of its root.
func TestSendFromATask(t *testing.T) {
	bothWays(t, func(t *testing.T, b *bench, late tasks.Option) {
		b.cfg.Concurrency = 1
		l := b.echoes("app.part", "app.next")
		b.reg.Register("app.do", func(ctx context.Context) (string, error) {
			result, err := tasks.Send(ctx, named("part", 1))
			if err != nil {
				return "", err
			}
			_, err = tasks.Send(ctx, canvas.Group(canvas.Sig("app.next"), canvas.Sig("app.next")))
			return result.ID, err
		}, late)
		b.start()
		b.send(canvas.Chain(named("do").Set(canvas.TaskID("it")), named("next")))
		b.wantRecord("it", `{"status": "SUCCESS", "result": "part", "traceback": null, "children": `+
			`[[["part", null], null], [["ID", null], [[["ID", null], null], [["ID", null], null]]], [["next", null], null]], "task_id": "it"}`)
		l.want(t, "app.part [1] parent=it root=it", "app.next [] parent=it root=it group", "app.next [] parent=it root=it group",
			`app.next ["part"] parent=it root=it`)
	})
}

// A task without a trail has no children.
func TestSendWithoutATrail(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		l := b.echoes("app.part")
		b.reg.Register("app.do", func(ctx context.Context) error { _, err := tasks.Send(ctx, named("part")); return err }, tasks.Trail(false))
		b.start()
		b.send(named("do"))
		b.wantRecord("do", `{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "task_id": "do"}`)
		l.want(t, "app.part [] parent=do root=do")
	})
}

// What runs in the place of a task has its id, its callbacks, and its place in canvases
// (Task.replace).
func TestReplace(t *testing.T) {
	part := func(args ...any) canvas.Signature { return canvas.Sig("app.part", args...) }
	it := canvas.Sig("app.replaced").Set(canvas.TaskID("it"))
	for _, tt := range []struct {
		name   string
		by     canvas.Signature
		call   canvas.Signature
		result string // of the replaced task, in the end
		ran    []string
	}{
		{"by a task", part(1), it, "SUCCESS [1]", []string{"app.part [1]"}},
		{
			"by a chain", canvas.Chain(part(1).Set(canvas.TaskID("first")), part(2)), it, "SUCCESS [[1], 2]",
			[]string{"app.part [1] parent=it root=it", "app.part [[1], 2] parent=first"},
		},
		{
			"by a group", canvas.Group(part(1), part(2)), it, "SUCCESS [[1], [2]]",
			[]string{"app.part [1] parent=it root=it group", "app.part [2] parent=it root=it group"},
		},
		{
			"with a callback", part(1), it.Link(named("next")), "SUCCESS [1]",
			[]string{"app.part [1]", "app.next [[1]] parent=it root=it"},
		},
		{
			"in a chain", part(1), canvas.Chain(it, named("next"), named("last")), "SUCCESS [1]",
			[]string{"app.part [1]", "app.next [[1]] parent=it root=it", "app.last [[[1]]] parent=next root=it"},
		},
		{
			"in a chord", part(1), canvas.Chord([]canvas.Signature{it, named("next")}, named("body")), "SUCCESS [1]",
			[]string{"app.next [] group", "app.part [1] group", "app.body [[[1], []]] parent=it root=it group"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, b *bench, late tasks.Option) {
				b.cfg.Concurrency = 1
				l := b.echoes("app.part", "app.next", "app.last", "app.body")
				b.reg.Register("app.replaced", func(ctx context.Context) error { return tasks.Replace(ctx, tt.by) }, late)
				b.start()
				b.send(tt.call)
				b.wantResult("it", tt.result)
				l.want(t, tt.ran...)
				b.wantQueued(0, 0)
				if n := b.countEvents("ignored"); n != 1 {
					t.Errorf("%d tasks were replaced, want 1", n)
				}
			})
		})
	}
}

// Errbacks of a task hear of what failed in its place.
func TestReplacementFails(t *testing.T) {
	bothWays(t, func(t *testing.T, b *bench, late tasks.Option) {
		var f failures
		b.reg.Register("app.new", f.note, tasks.Errback())
		b.reg.Register("app.fail", failing)
		b.reg.Register("app.replaced", func(ctx context.Context) error { return tasks.Replace(ctx, canvas.Sig("app.fail")) }, late)
		b.start()
		b.send(named("replaced").LinkError(canvas.Sig("app.new")))
		b.wantResult("replaced", "FAILURE "+badValue)
		f.want(t, "app.fail[replaced] []{}: ValueError('bad'), a traceback")
	})
}

// What cannot be published fails the task that wants it.
func TestWhatATaskCannotPublish(t *testing.T) {
	wrong := canvas.Sig("app.part").Set(canvas.Serializer("klingon"))
	for name, publish := range map[string]func(context.Context) error{
		"send": func(ctx context.Context) error { _, err := tasks.Send(ctx, wrong); return err },
		"send a mistake": func(ctx context.Context) error {
			_, err := tasks.Send(ctx, canvas.Sig("app.part", make(chan int)))
			return err
		},
		"replace":       func(ctx context.Context) error { return tasks.Replace(ctx, wrong) },
		"replace badly": func(ctx context.Context) error { return tasks.Replace(ctx, canvas.Sig("app.part", make(chan int))) },
		"add to chord":  func(ctx context.Context) error { _, err := tasks.AddToChord(ctx, canvas.Sig("app.part")); return err },
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, b *bench, late tasks.Option) {
				l := b.echoes("app.part")
				b.reg.Register("app.do", publish, late)
				b.start()
				if got := b.result(b.send(canvas.Sig("app.do"))); !strings.HasPrefix(got, "FAILURE ") {
					t.Errorf("result = %s", got)
				}
				l.want(t)
				b.wantQueued(0, 0)
			})
		})
	}
}

// The body of a chord waits for members that are added while it runs.
func TestAddToChord(t *testing.T) {
	bothWays(t, func(t *testing.T, b *bench, late tasks.Option) {
		b.cfg.Concurrency = 1
		l := b.echoes("app.part", "app.body")
		b.reg.Register("app.more", func(ctx context.Context) (int, error) {
			result, err := tasks.AddToChord(ctx, named("part", "added"))
			if err == nil && result.ID != "part" {
				err = fmt.Errorf("the result is of %s", result.ID)
			}
			return 5, err
		}, late)
		b.start()
		b.send(canvas.Chord([]canvas.Signature{named("more")}, named("body")))
		l.want(t, `app.part ["added"] parent=more root=more group`, `app.body [[5, ["added"]]] parent=part root=more group`)
		b.wantRecord("body", `{"status": "SUCCESS", "result": [[5, ["added"]]], "traceback": null, "children": [], "group_id": "ID", "parent_id": "part", "task_id": "body"}`)
		b.wantQueued(0, 0)
	})
}

// A handler that has been given up, or goes on after its end, changes nothing any more.
func TestWhatAnEndedTaskCannotDo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		l := b.echoes("app.part")
		errs := make(chan error, 2)
		b.reg.Register("app.do", func(ctx context.Context) {
			go func() {
				time.Sleep(time.Second)
				errs <- tasks.UpdateState(context.WithoutCancel(ctx), "LATE", nil)
				_, err := tasks.Send(context.WithoutCancel(ctx), canvas.Sig("app.part"))
				errs <- err
			}()
		})
		b.start()
		b.send(named("do"))
		b.sleep(2 * time.Second)
		for range 2 {
			if err := <-errs; err == nil || !strings.Contains(err.Error(), "app.do[do] has ended") {
				t.Errorf("the task has done something after its end: %v", err)
			}
		}
		b.wantResult("do", "SUCCESS null")
		l.want(t)
	})
}

// A state that has no JSON form is the handler's error.
func TestStateWithoutAJSONForm(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.do", func(ctx context.Context) (bool, error) {
			err := tasks.UpdateState(ctx, "PROGRESS", make(chan int))
			return err != nil && strings.Contains(err.Error(), "state PROGRESS of app.do[do]"), nil
		})
		b.start()
		b.send(named("do"))
		b.wantResult("do", "SUCCESS true")
	})
}

// A worker without a publisher says so.
func TestNothingToPublishWith(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.cfg.Publisher = nil
		b.reg.Register("app.do", func(ctx context.Context) error { _, err := tasks.Send(ctx, canvas.Sig("app.part")); return err })
		b.reg.Register("app.again", func() error { return tasks.Retry(errors.New("busy")) })
		b.start()
		b.send(named("do"))
		b.send(named("again"))
		for _, id := range []string{"do", "again"} {
			if got := b.result(id); !strings.Contains(got, "publisher") {
				t.Errorf("result of %s = %s", id, got)
			}
		}
		b.wantQueued(0, 0)
	})
}
