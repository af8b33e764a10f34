package cli

import (
	"slices"

	"github.com/apium/apium/settings"
)

// pendingSettings are understood, but nothing in the worker takes them yet. Whoever
// makes something take one removes it here and maps it in apply.go.
var pendingSettings = []string{
	"event_exchange", "event_queue_prefix", "event_serializer", "result_accept_content", "result_chord_join_timeout",
	"result_chord_retry_interval", "result_compression", "result_failure_expires", "result_serializer", "task_compression",
	"task_default_delivery_mode", "task_default_priority", "task_allow_error_cb_on_chord_header", "task_protocol", "task_publish_retry",
	"task_publish_retry_policy", "task_repr_maxlevels", "task_retry_on_worker_lost", "task_send_sent_event", "task_serializer",
	"worker_cancel_long_running_tasks_on_connection_loss", "worker_direct",
	"worker_enable_soft_shutdown_on_idle", "worker_send_task_events", "worker_soft_shutdown_timeout",
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
