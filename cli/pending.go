package cli

import (
	"slices"

	"github.com/apium/apium/settings"
)

// pendingSettings are understood, but nothing in the worker takes them yet. Whoever
// makes something take one removes it here and maps it in apply.go.
var pendingSettings = []string{
	"event_serializer", "result_accept_content", "task_protocol",
	"task_publish_retry", "task_publish_retry_policy", "task_repr_maxlevels",
	"worker_cancel_long_running_tasks_on_connection_loss",
}

// pendingWarnings has a line for each pending setting with another value than Celery's default.
func pendingWarnings(conf *settings.Settings) []string {
	var lines []string
	for _, name := range pendingSettings {
		if conf.Changed(name) {
			lines = append(lines, conf.Origin(name).String()+" has no effect yet")
		}
	}
	for _, name := range conf.TaskAnnotations.Tasks() {
		if a := conf.TaskAnnotations.For(name); a.RetryBackoff != nil || a.RetryBackoffMax != nil || a.RetryJitter != nil || len(a.AutoretryFor) > 0 {
			lines = append(lines, conf.Origin("task_annotations").String()+": "+name+": automatic retries are set in Go, with tasks.AutoRetry")
		}
	}
	return slices.Compact(lines)
}
