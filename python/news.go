package python

import (
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// news begins a line that the stand-in does not answer.
func news(op string) []byte {
	return append(append([]byte(`{"op": "`), op...), '"')
}

func (m *MainProcess) tell(line []byte) {
	for i, c := range line { // a producer may write its JSON in several lines
		if c == '\n' {
			line[i] = ' '
		}
	}
	s := m.current.Load()
	if s == nil || s.tell(append(line, '}')) {
		return
	}
	if m.missed.Add(1) == 1 {
		m.log.Warn("The app's receivers of signals do not keep up: they will not hear of everything",
			logline.EventKey, "The app's receivers of signals do not keep up")
	}
}

// Observe implements worker.Observer: task_received and task_revoked, and task_failure of what no child tells of. Celery
// sends it in its MainProcess when the failure is stored.
func (m *MainProcess) Observe(e worker.Event) {
	switch {
	case e.Kind == worker.Failed && isReject(e.Raised) && m.hooks.Load().Failures.Rejected && m.has(e.Task.Name):
		line := append(news("given_up"), `, "arguments": `...)
		line = append(line, arguments(e.Raised.Message)...)
		m.tellOfTask(textMember(line, "traceback", e.Raised.Traceback), e.Task)
	case e.Kind == worker.Failed && !e.Told && !e.Refused:
		m.failed(e.Task, e.Raised)
	case e.Kind == worker.Received && m.hears("task_received"):
		m.tellOfTask(news("received"), e.Task)
	case e.Kind == worker.Revoked && m.hears("task_revoked"):
		line := append(news("revoked"), `, "terminated": `...)
		line = appendBool(line, e.Terminated)
		line = append(line, `, "signum": `...)
		if e.Signum == 0 {
			line = append(line, "null"...)
		} else {
			line = append(line, itoa(e.Signum)...)
		}
		line = appendBool(append(line, `, "expired": `...), e.Expired)
		m.tellOfTask(line, e.Task)
	}
}

// isReject tells whether it is the exception with which a task rejects its message.
func isReject(exc *protocol.Exception) bool {
	return exc != nil && exc.Type == "Reject" && exc.Module == "celery.exceptions"
}

// Hooks are what the worker calls for other signals. New code may listen to others.
func (m *MainProcess) Hooks() tasks.Hooks {
	return tasks.Hooks{TaskRejected: m.rejected, TaskUnknown: m.unknown}
}

func (m *MainProcess) unknown(message []byte, name, id string) {
	if !m.hears("task_unknown") {
		return
	}
	line := textMember(news("unknown"), "text", string(message))
	m.tell(textMember(textMember(line, "name", name), "id", id))
}

// rejected tells of a message that is no task, or one that cannot be run. Celery sends no
// signal for one that cannot be decoded.
func (m *MainProcess) rejected(message []byte, err error) {
	if !m.hears("task_rejected") {
		return
	}
	var invalid *protocol.InvalidTaskError
	class := ""
	switch {
	case errors.As(err, &invalid):
		class = "celery.exceptions.InvalidTaskError"
	case !errors.Is(err, protocol.ErrUnknownMessage):
		return
	}
	line := textMember(news("rejected"), "text", string(message))
	m.tell(textMember(textMember(line, "type", class), "error", err.Error()))
}

// failed tells of a task that no child can tell of: one that was lost, or whose time was over.
func (m *MainProcess) failed(task *protocol.Task, exc *protocol.Exception) {
	if !m.has(task.Name) {
		return
	}
	limit, told := exc.Type == "TimeLimitExceeded", m.hooks.Load().Failures
	if !told.Lost && (!limit || !told.Limit) {
		return
	}
	line := textMember(news("failed"), "type", exc.Module+"."+exc.Type)
	line = append(line, `, "arguments": `...)
	line = append(line, arguments(exc.Message)...)
	line = appendBool(append(line, `, "limit": `...), limit)
	m.tellOfTask(line, task)
}

// has tells whether a task is the app's.
func (m *MainProcess) has(task string) bool {
	_, ok := m.app.Manifest().Tasks[task]
	return ok
}

// arguments are those of an exception, as a JSON array.
func arguments(message json.RawMessage) []byte {
	if pyjson.Kind(message) == '[' {
		return message
	}
	if len(message) == 0 {
		return []byte("[]")
	}
	return append(append([]byte("["), message...), ']')
}

// tellOfTask tells of a task: its message follows, as Celery's Request wants it.
func (m *MainProcess) tellOfTask(line []byte, task *protocol.Task) {
	message, err := task.Message()
	if err != nil {
		return // nobody could make a request of it
	}
	line = append(textMember(line, "task", task.Name), `, "headers": `...)
	line = appendObject(line, message.Headers)
	line = append(line, `, "properties": `...)
	line = appendObject(line, task.Properties)
	line = textMember(textMember(line, "content_type", message.ContentType), "content_encoding", message.ContentEncoding)
	line = textMember(textMember(line, "exchange", task.Exchange), "routing_key", task.RoutingKey)
	line = appendBool(append(line, `, "redelivered": `...), task.Redelivered)
	line = append(line, `, "body": "`...)
	line = base64.StdEncoding.AppendEncode(line, message.Body)
	m.tell(append(line, '"'))
}

func textMember(dst []byte, name, text string) []byte {
	return pyjson.AppendString(append(append(append(dst, `, "`...), name...), `": `...), text)
}

func appendBool(dst []byte, value bool) []byte {
	if value {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

// HeartbeatSent is called for each heartbeat.
func (m *MainProcess) HeartbeatSent() {
	if m.hears("heartbeat_sent") {
		m.tell(news("heartbeat"))
	}
}

// creating is called before a child is forked.
func (a *App) creating() {
	if m := a.main.Load(); m != nil && m.hears("worker_before_create_process") {
		m.tell(news("creating"))
	}
}
