package control

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

func (m *Mailbox) revoked(others) any { return m.w.Operations().Revoked() }

func (m *Mailbox) revoke(ctx context.Context, taskID json.RawMessage, terminate, signal any, _ others) (any, error) {
	ids, other, err := members(taskID)
	if err != nil {
		return nil, err
	}
	if other != "" {
		return nil, tasks.Raise("TypeError", "sequence item 0: expected str instance, "+other+" found")
	}
	m.w.Operations().Revoke(ctx, ids...)
	if !truthy(terminate) {
		m.log.Info("Tasks flagged as revoked: "+strings.Join(ids, ", "), logline.EventKey, "Tasks flagged as revoked", "task_ids", ids)
		return succeeded("tasks " + setRepr(ids) + " flagged as revoked"), nil
	}
	signum, err := signalNumber(signal)
	if err != nil {
		return nil, err
	}
	known, err := m.w.Operations().Terminate(signum, ids...)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return succeeded("terminate: tasks unknown"), nil
	}
	return succeeded("terminate: " + strings.Join(known, ", ")), nil
}

func (m *Mailbox) terminate(ctx context.Context, signal any, taskID json.RawMessage, _ others) (any, error) {
	return m.revoke(ctx, taskID, true, signal, nil)
}

func (m *Mailbox) revokeByStamps(headers json.RawMessage, terminate, signal any, _ others) (any, error) {
	signum, err := signalNumber(signal)
	if err != nil {
		return nil, err
	}
	stamps, shown, err := stampsOf(headers)
	if err != nil {
		return nil, err
	}
	m.w.Operations().RevokeByStamps(stamps)
	if !truthy(terminate) {
		return succeeded("headers " + shown + " flagged as revoked, but not terminated"), nil
	}
	found, err := m.w.Operations().TerminateByStamps(signum, stamps)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return succeeded("headers " + shown + " were not terminated"), nil
	}
	return succeeded("headers defaultdict(<class 'set'>, {" + foundRepr(found) + "}) revoked"), nil
}

// stampsOf reads the argument headers: an object of values or lists of values, or a list
// of "key=value". shown is Python's repr of the object.
func stampsOf(headers json.RawMessage) (stamps map[string][]json.RawMessage, shown string, err error) {
	if pyjson.Kind(headers) == '[' {
		if headers, err = pairs(headers); err != nil {
			return nil, "", err
		}
	}
	s := pyjson.NewScanner(headers)
	if !s.Enter('{') {
		return nil, "", tasks.Raise("AttributeError", "'"+pyjson.PythonType(headers)+"' object has no attribute 'items'")
	}
	stamps = map[string][]json.RawMessage{}
	for s.Next() {
		name, value := string(s.Key()), s.Value()
		values := []json.RawMessage{value}
		switch pyjson.Kind(value) {
		case 'n':
			return nil, "", tasks.Raise("TypeError", "'NoneType' object is not iterable")
		case '[':
			if err := pyjson.Unmarshal(value, &values); err != nil {
				return nil, "", err
			}
		}
		stamps[name] = append(stamps[name], values...)
	}
	return stamps, protocol.Repr(headers), s.End()
}

// pairs makes an object of a list of "key=value".
func pairs(list json.RawMessage) (json.RawMessage, error) {
	s := pyjson.NewScanner(list)
	object := []byte{'{'}
	for s.Enter('['); s.Next(); {
		text, ok := s.Text()
		if !ok {
			return nil, tasks.Raise("AttributeError", "'"+pyjson.PythonType(s.Value())+"' object has no attribute 'split'")
		}
		parts := strings.Split(string(text), "=")
		if len(parts) < 2 {
			return nil, tasks.Raise("IndexError", "list index out of range")
		}
		object = pyjson.AppendString(pyjson.AppendKey(object, parts[0]), parts[1])
	}
	return append(object, '}'), s.End()
}

// foundRepr is Python's repr of the members of a dict of sets.
func foundRepr(found map[string][]json.RawMessage) string {
	var members []string
	for name, values := range found {
		var reprs []string
		for _, value := range values {
			reprs = append(reprs, protocol.Repr(value))
		}
		members = append(members, protocol.ReprText(name)+": {"+strings.Join(reprs, ", ")+"}")
	}
	slices.Sort(members)
	return strings.Join(members, ", ")
}
