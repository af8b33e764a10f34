package control

import (
	"encoding/json"
	"errors"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// beside are the commands that Celery does not have.
func (m *Mailbox) beside() []Command {
	return []Command{
		{Name: "shares", Inspect: true, Help: "how many of a task's messages a worker takes", signature: "**kwargs", handler: m.shares},
		{
			Name: "share", Usage: "<task_name> <percent (e.g., 10%)>", Help: "change how many of a task's messages a worker takes",
			params:    []param{{"task_name", readText}, {"share", readText}},
			signature: "task_name, share, **kwargs", handler: m.share,
		},
		{Name: "shadows", Inspect: true, Help: "what runs in Go to be compared with Python, and how it does", signature: "**kwargs", handler: m.shadows},
		{
			Name: "shadow", Usage: "<task_name> <percent (e.g., 10%)>", Help: "change how many of a task's messages run in Go, too, to compare",
			params:    []param{{"task_name", readText}, {"share", readText}},
			signature: "task_name, share, **kwargs", handler: m.shadow,
		},
	}
}

// share changes how many of a task's messages this worker takes.
func (m *Mailbox) share(task string, given json.RawMessage, _ others) (any, error) {
	share, err := readShare(given)
	if err != nil {
		return failed(err.Error()), nil
	}
	switch err := m.w.Operations().SetShare(task, share); {
	case errors.Is(err, worker.ErrUnknownTask):
		m.log.Error("Share attempt for unknown task "+task, logline.EventKey, "Share attempt for unknown task", "task_name", task)
		return failed("unknown task"), nil
	case err != nil:
		return nil, err
	}
	m.log.Info("New share of tasks of type "+task+": "+share.String()+".", logline.EventKey, "New share", "task_name", task, "share", share.String())
	where := "to other workers"
	if executor, ok := m.w.Operations().Beside(task); ok {
		where = "to " + executor
	}
	return succeeded("takes " + share.String() + ", leaves the others " + where), nil
}

// readShare reads a percentage, which may be a number.
func readShare(given json.RawMessage) (tasks.Share, error) {
	text := string(given)
	if pyjson.Kind(given) == '"' {
		text = pyjson.Text(given)
	}
	return tasks.ParseShare(text)
}

// shares tells what holds now.
func (m *Mailbox) shares(_ others) (any, error) {
	all := map[string]any{}
	for task, share := range m.w.Shares() {
		all[task] = share.String()
	}
	return all, nil
}
