package protocol_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/protocol"
)

func TestCustomHeadersAndProperties(t *testing.T) {
	t.Parallel()
	raw := `{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json",
		"headers": {"lang": "py", "task": "a.b", "id": "x", "my": 1, "nested": {"a": 1}, "argsrepr": "()", "compression": null, "stamps": {}},
		"properties": {"correlation_id": "x", "app_id": "APP\u00e9", "user_id": null, "x_n": 5, "delivery_mode": 2,
		"delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64", "delivery_tag": "t"}}`
	task, err := envelopetest.DecodeTask([]byte(raw), protocol.Accept{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"app_id": "APPé", "user_id": "", "type": "", "x_n": "5", "delivery_tag": "t"} {
		if got := task.Property(name); got != want {
			t.Errorf("property %s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"my": "1", "nested": `{"a": 1}`, "lang": "py", "compression": "", "none": ""} {
		if got := task.Header(name); got != want {
			t.Errorf("header %s: %q, want %q", name, got, want)
		}
	}
	custom := task.CustomHeaders()
	if names := slices.Sorted(maps.Keys(custom)); !slices.Equal(names, []string{"my", "nested"}) || string(custom["nested"]) != `{"a": 1}` {
		t.Errorf("custom headers: %s", custom)
	}
	if got := (&protocol.Task{}).CustomHeaders(); got != nil {
		t.Errorf("custom headers of a task without any: %v", got)
	}
}

func TestSetHeader(t *testing.T) {
	task := &protocol.Task{}
	task.SetHeader("traceparent", "first")
	task.SetHeader("own", `a "text"`)
	task.SetHeader("traceparent", "second")
	if got, want := string(task.Headers), `{"own": "a \"text\"", "traceparent": "second"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
