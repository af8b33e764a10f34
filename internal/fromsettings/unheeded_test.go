package fromsettings_test

import (
	"slices"
	"testing"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
)

// What concerns child processes, or the Python in them, has an effect if there are any.
func TestUnheededWarnings(t *testing.T) {
	t.Parallel()
	conf, err := settings.Load(settings.Sources{App: "app", Exported: []byte(`{"worker_max_tasks_per_child": 2, "event_serializer": "pickle", "task_protocol": 1,
		"task_annotations": {"a.b": {"retry_backoff": true}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	const events = "app: event_serializer has no effect: events are JSON, which every receiver accepts"
	want := []string{
		events,
		"app: task_protocol has no effect: messages are published in protocol 2, which Celery reads since 4.0",
		"app: worker_max_tasks_per_child has no effect: there are no child processes",
		"app: task_annotations: a.b: automatic retries are set in Go, with tasks.AutoRetry",
	}
	if got := fromsettings.UnheededWarnings(conf, false); !slices.Equal(got, want) {
		t.Errorf("without children: %q", got)
	}
	if got := fromsettings.UnheededWarnings(conf, true); !slices.Equal(got, []string{events}) {
		t.Errorf("with children: %q", got)
	}
}
