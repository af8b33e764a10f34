package beat

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // what UUIDs of version 5 are made of
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// signature is what the entry calls, as Celery's Scheduler.apply_async does.
func (e *Entry) signature() (canvas.Signature, error) {
	if !e.Signature.IsZero() {
		return e.Signature.Set(canvas.RawOpt("headers", withBeatHeader(e.Signature.Option("headers")))), nil
	}
	if e.Task == "" {
		return canvas.Signature{}, errors.New("it names no task")
	}
	options, err := e.options()
	if err != nil {
		return canvas.Signature{}, err
	}
	raw, err := pyjson.Append(nil, map[string]any{
		"task": e.Task, "args": orElse(e.Args, "[]"), "kwargs": orElse(e.Kwargs, "{}"), "options": options,
		"subtask_type": nil, "immutable": false,
	})
	if err != nil {
		return canvas.Signature{}, err
	}
	return canvas.Decode(raw)
}

func orElse(raw json.RawMessage, without string) json.RawMessage {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage(without)
	}
	return raw
}

// options are the entry's, with the header that Celery's beat sets.
func (e *Entry) options() (json.RawMessage, error) {
	given := orElse(e.Options, "{}")
	if pyjson.Kind(given) != '{' {
		return nil, fmt.Errorf("its options are a %s", pyjson.PythonType(given))
	}
	if err := pyjson.Valid(given); err != nil {
		return nil, fmt.Errorf("its options: %w", err)
	}
	var headers json.RawMessage
	out := []byte{'{'}
	for name, value := range pyjson.Members(given) {
		if name == "headers" {
			headers = value
			continue
		}
		out = append(pyjson.AppendKey(out, name), value...)
	}
	if headers = orElse(headers, "{}"); pyjson.Kind(headers) != '{' {
		return nil, fmt.Errorf("its headers are a %s", pyjson.PythonType(headers))
	}
	out = append(pyjson.AppendKey(out, "headers"), withBeatHeader(headers)...)
	return append(out, '}'), nil
}

// withBeatHeader adds the header by which workers tell that beat has sent a task.
func withBeatHeader(headers json.RawMessage) json.RawMessage {
	out := []byte{'{'}
	for name, value := range pyjson.Members(orElse(headers, "{}")) {
		if name != "celery_beat_task" {
			out = append(pyjson.AppendKey(out, name), value...)
		}
	}
	return append(pyjson.AppendKey(out, "celery_beat_task"), "true}"...)
}

// namespace is that of the ids of the tasks that beats send, a random UUID.
var namespace = [16]byte{0x5c, 0x0d, 0x0a, 0x6f, 0x1b, 0x5e, 0x4e, 0x3b, 0x9a, 0x4f, 0x8a, 0x52, 0x6f, 0x2d, 0x3a, 0x90}

// taskID is the id of the task of a run, a UUID of version 5: so it can be told of which slot it is, and a
// message that was sent twice all the same has the same id.
func taskID(schedule, entry string, slot time.Time) string {
	h := sha1.New() //nolint:gosec // what UUIDs of version 5 are made of
	h.Write(namespace[:])
	fmt.Fprintf(h, "%s\x00%s\x00%s", schedule, entry, slot.UTC().Format(time.RFC3339Nano))
	var u pyjson.UUID
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}
