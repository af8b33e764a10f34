package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

func (m *Mailbox) ping(others) any { return succeeded("pong") }

func (m *Mailbox) logicalClock(others) any {
	return map[string]any{"clock": m.w.Clock().Value()}
}

// taskInfo is how Celery tells of a task (celery/worker/request.py: Request.info).
type taskInfo struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Args         any          `json:"args"`
	Kwargs       any          `json:"kwargs"`
	Type         string       `json:"type"`
	Hostname     string       `json:"hostname"`
	TimeStart    *float64     `json:"time_start"`
	Acknowledged bool         `json:"acknowledged"`
	DeliveryInfo deliveryInfo `json:"delivery_info"`
	WorkerPID    *int         `json:"worker_pid"`
}

type deliveryInfo struct {
	Exchange    string `json:"exchange"`
	RoutingKey  string `json:"routing_key"`
	Priority    *int   `json:"priority"` // null: the message has none
	Redelivered bool   `json:"redelivered"`
}

// info tells of a task; with safe, arguments are the texts that came with the message.
func (m *Mailbox) info(t worker.TaskInfo, safe bool) taskInfo {
	info := taskInfo{
		ID: t.ID, Name: t.DisplayName(), Type: t.Name, Hostname: m.hostname,
		Args: orElse(t.Args, t.ArgsRepr, "[]"), Kwargs: orElse(t.Kwargs, t.KwargsRepr, "{}"), Acknowledged: t.Acknowledged,
		DeliveryInfo: deliveryInfo{Exchange: t.Exchange, RoutingKey: t.RoutingKey, Redelivered: t.Redelivered},
	}
	if t.Priority != 0 || pyjson.Member(t.Properties, "priority") != nil {
		info.DeliveryInfo.Priority = &t.Priority
	}
	if safe {
		info.Args, info.Kwargs = t.ArgsRepr, t.KwargsRepr
	}
	if t.State == worker.StateActive {
		seconds := float64(t.Started.UnixMicro()) / 1e6
		info.TimeStart, info.WorkerPID = &seconds, &t.PID
	}
	return info
}

// orElse returns arguments, or the text that came with the message if they cannot be read here.
func orElse(raw []byte, repr, otherwise string) json.RawMessage {
	switch {
	case raw != nil:
		return raw
	case repr != "":
		return pyjson.AppendString(nil, repr)
	}
	return json.RawMessage(otherwise)
}

func (m *Mailbox) list(held []worker.TaskInfo, safe bool) []taskInfo {
	list := make([]taskInfo, len(held))
	for i, t := range held {
		list[i] = m.info(t, safe)
	}
	return list
}

func (m *Mailbox) active(safe any, _ others) any {
	return m.list(m.w.Operations().Active(), truthy(safe))
}
func (m *Mailbox) reserved(others) any { return m.list(m.w.Operations().Reserved(), false) }

// scheduledShown bounds the reply of scheduled.
const scheduledShown = 1000

// timerPriority is that of every entry in the timer of Celery's worker.
const timerPriority = 6

// scheduled lists the tasks that wait for their ETA, the next first: those in memory and
// the next of those that the broker keeps, which every worker of their queue lists.
func (m *Mailbox) scheduled(ctx context.Context, _ others) any {
	type waiting struct {
		ETA      any      `json:"eta"`
		Priority int      `json:"priority"`
		Request  taskInfo `json:"request"`
	}
	list := []waiting{}
	held, err := m.w.Operations().Scheduled(ctx, scheduledShown)
	if err != nil {
		m.log.Warn("Cannot list what is parked: "+err.Error(), logline.EventKey, "Cannot list what is parked", "error", err)
	}
	for _, t := range held {
		entry := waiting{Priority: timerPriority, Request: m.info(t, false)}
		if !t.ETA.IsZero() {
			entry.ETA = string(protocol.AppendTime(nil, t.ETA))
		}
		list = append(list, entry)
	}
	return list
}

func (m *Mailbox) queryTask(ids json.RawMessage, _ others) (any, error) {
	wanted, _, err := members(ids)
	if err != nil {
		return nil, err
	}
	found := map[string][]any{}
	for _, t := range m.w.Operations().Find(wanted...) {
		found[t.ID] = []any{string(t.State), m.info(t, false)}
	}
	return found, nil
}

// shownAttributes are what registered tells of each task unless it is asked for others.
var shownAttributes = []any{"exchange", "routing_key", "rate_limit"}

func (m *Mailbox) registered(attributes []any, builtins any, _ others) any {
	if len(attributes) == 0 {
		attributes = shownAttributes
	}
	list := []string{}
	for _, name := range m.w.Operations().TaskNames(truthy(builtins)) {
		var shown []string
		for _, a := range attributes {
			attribute, ok := a.(string)
			if !ok || strings.HasPrefix(attribute, "_") {
				continue
			}
			if text, ok := m.w.Operations().TaskAttribute(name, attribute); ok {
				shown = append(shown, attribute+"="+text)
			}
		}
		if shown != nil {
			name = fmt.Sprintf("%s [%s]", name, strings.Join(shown, " "))
		}
		list = append(list, name)
	}
	return list
}

// hello exchanges revoked ids and the clock with a worker that starts (mingle). Workers
// before Celery 5.7 send their ids with times, which mean nothing here.
func (m *Mailbox) hello(fromNode string, revoked json.RawMessage, _ others) (any, error) {
	if fromNode == m.hostname {
		return nil, nil
	}
	m.log.Info("sync with "+fromNode, logline.EventKey, "sync with a node", "node", fromNode)
	var ids []string
	switch pyjson.Kind(revoked) {
	case 'n':
	case '[', '{':
		var err error
		if ids, err = keys(revoked); err != nil {
			return nil, err
		}
	default:
		return nil, tasks.Raise("TypeError", "'"+pyjson.PythonType(revoked)+"' object is not iterable")
	}
	m.w.Operations().MergeRevoked(ids...)
	return map[string]any{"revoked": m.w.Operations().Revoked(), "clock": m.w.Clock().Forward()}, nil
}
