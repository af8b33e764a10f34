package fromsettings_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/taskstest"
	"github.com/apium/apium/worker"
)

// What a registered task is published with: annotations count before its own options, those
// before task_default_priority, and that before a route. Celery 5.7 sends the same.
func TestPublishing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "celery.json")
	if err := os.WriteFile(file, []byte(`{
		"task_default_priority": 2, "task_routes": {"w.*": {"queue": "routed", "priority": 7}},
		"task_annotations": {"w.annotated": {"queue": "annotated", "priority": 5}}
	}`), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := settings.Load(settings.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	reg := tasks.NewRegistry()
	reg.Register("w.own", func() {}, tasks.Queue("own"), tasks.Priority(3))
	reg.Register("w.plain", func() {})
	reg.Register("w.annotated", func() {}, tasks.Queue("own"), tasks.Priority(3))
	reg.Register("w.send", func(ctx context.Context, task string) error {
		_, err := tasks.Send(ctx, canvas.Sig(task))
		return err
	})
	for task, want := range map[string]struct {
		queue    string
		priority int
	}{
		"w.own":       {"own", 3},
		"w.plain":     {"routed", 2},
		"w.annotated": {"annotated", 5},
		"w.elsewhere": {"routed", 7}, // not registered
	} {
		run := taskstest.Apply(t, reg, canvas.Sig("w.send", task), taskstest.Configure(func(c *worker.Config) {
			from := fromsettings.Worker(conf, "w@host")
			c.Defaults, c.Annotations, c.Route, c.Destination = from.Defaults, from.Annotations, from.Route, from.Destination
		}))
		run.Result(nil)
		if sent := run.Published(); len(sent) != 1 || sent[0].RoutingKey != want.queue || sent[0].Priority != want.priority {
			t.Errorf("%s is published as %+v, want %+v", task, sent[0], want)
		}
	}
}
