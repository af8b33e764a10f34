package logline

import "log/slog"

// Attributes of a logger that belongs to a running task (tasks.Logger). Those it is given along
// with a line are the author's: none of them means here what it means in lines of ours.
const (
	taskNameKey = "task_name"
	taskIDKey   = "task_id"
)

// Task makes the attributes by which IsTask knows the logger of a task.
func Task(name, id string) []any {
	return []any{slog.String(taskNameKey, name), slog.String(taskIDKey, id)}
}

// IsTask tells whether attributes given to a handler are those of a task's logger, and whose.
func IsTask(attrs []slog.Attr) (name, id string, ok bool) {
	if len(attrs) != 2 || attrs[0].Key != taskNameKey || attrs[1].Key != taskIDKey {
		return "", "", false
	}
	return attrs[0].Value.String(), attrs[1].Value.String(), true
}
