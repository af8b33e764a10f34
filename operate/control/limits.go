package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

func (m *Mailbox) rateLimit(task string, limit json.RawMessage, _ others) (any, error) {
	text, err := rateText(limit)
	if err != nil {
		return nil, err
	}
	number, unit, _ := strings.Cut(text, "/")
	if unit != "" && unit != "s" && unit != "m" && unit != "h" {
		return nil, tasks.Raise("KeyError", unit)
	}
	switch err := m.w.Operations().SetRateLimit(task, text); {
	case errors.Is(err, worker.ErrUnknownTask):
		m.log.Error("Rate limit attempt for unknown task "+task, logline.EventKey, "Rate limit attempt for unknown task", "task_name", task)
		return failed("unknown task"), nil
	case err != nil: // its number is none, or negative
		exc := tasks.ExceptionOf(tasks.Raise("ValueError", "could not convert string to float: '"+number+"'"))
		return failed("Invalid rate limit string: " + exc.Repr()), nil //nolint:nilerr // that is the reply
	}
	if text == "" {
		m.log.Info("Rate limits disabled for tasks of type "+task, logline.EventKey, "Rate limits disabled", "task_name", task)
		return succeeded("rate limit disabled successfully"), nil
	}
	m.log.Info("New rate limit for tasks of type "+task+": "+text+".",
		logline.EventKey, "New rate limit", "task_name", task, "rate_limit", text)
	return succeeded("new rate limit set successfully"), nil
}

// rateText reads a rate limit, which may be a number; "" lifts it.
func rateText(limit json.RawMessage) (string, error) {
	var value any
	if err := pyjson.Unmarshal(limit, &value); err != nil {
		return "", err
	}
	if !truthy(value) {
		return "", nil
	}
	switch value := value.(type) {
	case string:
		return value, nil
	case bool:
		return "1", nil
	case int64, float64:
		return string(limit), nil
	}
	return "", tasks.Raise("TypeError", "rate_limit() argument 'rate_limit' must be str, not "+pyjson.PythonType(limit))
}

func (m *Mailbox) timeLimit(task any, hard, soft *float64, _ others) (any, error) {
	name, _ := task.(string)
	switch err := m.w.Operations().SetTimeLimits(name, limit(soft), limit(hard)); {
	case errors.Is(err, worker.ErrUnknownTask):
		m.log.Error("Change time limit attempt for unknown task "+name,
			logline.EventKey, "Change time limit attempt for unknown task", "task_name", name)
		return failed("unknown task"), nil
	case err != nil:
		return nil, tasks.Raise("ValueError", err.Error())
	}
	m.log.Info(fmt.Sprintf("New time limits for tasks of type %s: soft=%s hard=%s", name, none(soft), none(hard)),
		logline.EventKey, "New time limits", "task_name", name, "soft", none(soft), "hard", none(hard))
	return succeeded("time limits set successfully"), nil
}

// limit is a time limit given in seconds; 0: none.
func limit(seconds *float64) time.Duration {
	if seconds == nil {
		return 0
	}
	return time.Duration(*seconds * float64(time.Second))
}

func none(seconds *float64) string {
	if seconds == nil {
		return "None"
	}
	return fmt.Sprint(*seconds)
}
