package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/apium/apium/internal/embedded"
)

// With JSON logs a worker prints nothing else, anywhere, and lines of a kind have one message.
func TestJSONLogOfAWorker(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	broker := []string{"-b", server.URL(), "--result-backend", server.URL()}
	for _, args := range []string{"proj.add 1 2", "proj.fail no", "proj.unknown"} {
		if status, _, stderr := call(t, append(append([]string{"send"}, broker...), strings.Fields(args)...)...); status != exitOK {
			t.Fatal(stderr)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out buffer
	ended := make(chan int, 1)
	go func() {
		args := append([]string{"apium", "worker", "-ldebug", "-n", "w@h", "--log-format", "json", "--pool", "gevent"}, broker...)
		ended <- run(ctx, testRegistry(), args, &out, &out)
	}()
	for _, want := range []string{"Task succeeded", "Task raised unexpected", "Received unregistered task"} {
		out.waitFor(t, `"msg":"`+want+`"`)
	}
	stop()
	<-ended
	lines := map[string]map[string]any{}
	for line := range strings.Lines(out.String()) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("no JSON: %s", line)
			continue
		}
		message, _ := fields["msg"].(string)
		if strings.Contains(message, "proj.") || strings.Contains(message, "redis://") || fields["worker"] != "w@h" {
			t.Errorf("a message that varies, or no worker: %s", line)
		}
		if task, _ := fields["task_name"].(string); task != "proj.fail" || message != "Task received" {
			lines[message] = fields
		}
	}
	for message, want := range map[string]map[string]any{
		"Worker starts":              {"pool": "goroutines", "task_events": false},
		"Configuration warning":      {"level": "WARNING"},
		"Connected to the broker":    {"broker": server.URL()},
		"Worker ready":               {},
		"Task received":              {"queue": "celery"},
		"Task succeeded":             {"task_name": "proj.add", "queue": "celery", "state": "SUCCESS", "result": "3.0", "level": "INFO"},
		"Task raised unexpected":     {"task_name": "proj.fail", "state": "FAILURE", "exception": "ValueError('no')", "level": "ERROR"},
		"Received unregistered task": {"task_name": "proj.unknown", "state": "FAILURE"},
	} {
		for key, value := range want {
			if lines[message][key] != value {
				t.Errorf("%s: %s is %v, want %v, in %v", message, key, lines[message][key], value, lines[message])
			}
		}
		if lines[message] == nil {
			t.Errorf("no line says %q:\n%s", message, out.String())
		}
	}
	for _, message := range []string{"Task succeeded", "Task raised unexpected"} {
		if runtime, ok := lines[message]["runtime"].(float64); !ok || runtime <= 0 {
			t.Errorf("%s: no runtime in %v", message, lines[message])
		}
	}
}
