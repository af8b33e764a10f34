package fromsettings

import (
	"slices"

	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// Unheeded are the settings that are understood, and have no effect in a worker, with the
// reason. Children says that they have in the child processes of a Python app. Those that have
// none anywhere are in the tables of package settings.
var Unheeded = []struct {
	Name, Why string
	Children  bool
}{
	{"event_serializer", "events are JSON, which every receiver accepts", false},
	{"result_accept_content", "results are read as plain data, whatever their serializer", true},
	{"task_protocol", "messages are published in protocol 2, which Celery reads since 4.0", true},
	{"task_publish_retry", "a worker tries until it has published", true},
	{"task_publish_retry_policy", "a worker tries until it has published", true},
	{"task_repr_maxlevels", "argsrepr and log lines show three levels, as by default in Celery", true},
	{
		"worker_cancel_long_running_tasks_on_connection_loss",
		"tasks run on, and are cancelled as soon as others have been given their messages", false,
	},
	{"worker_max_memory_per_child", "there are no child processes", true},
	{"worker_max_tasks_per_child", "there are no child processes", true},
}

// UnheededWarnings has a line for each setting without effect that is not as Celery's default is.
// children says that tasks run in the child processes of a Python app, too.
func UnheededWarnings(conf *settings.Settings, children bool) []string {
	var lines []string
	for _, setting := range Unheeded {
		if conf.Changed(setting.Name) && (!children || !setting.Children) {
			lines = append(lines, conf.Origin(setting.Name).String()+" has no effect: "+setting.Why)
		}
	}
	if children {
		return lines // annotations are the app's, which has heeded them
	}
	return append(lines, annotationWarnings(conf)...)
}

func annotationWarnings(conf *settings.Settings) (lines []string) {
	for _, name := range append(conf.TaskAnnotations.Tasks(), "*") {
		a := conf.TaskAnnotations.For(name)
		origin := conf.Origin("task_annotations").String() + ": " + name + ": "
		if a.RetryBackoff != nil || a.RetryBackoffMax != nil || a.RetryJitter != nil || len(a.AutoretryFor) > 0 {
			lines = append(lines, origin+"automatic retries are set in Go, with tasks.AutoRetry")
		}
		if DropLateSoftLimit(&tasks.Options{TimeLimit: a.TimeLimit, SoftTimeLimit: a.SoftTimeLimit}) {
			lines = append(lines, origin+"soft_time_limit has no effect: it is not less than time_limit")
		}
	}
	return slices.Compact(lines)
}
