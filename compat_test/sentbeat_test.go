package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// beatMessage is a message that a beat has sent, without what differs from run to run.
type beatMessage struct {
	Queue      string
	Headers    map[string]any
	Properties map[string]any
	Body       string

	id   string
	sent time.Time // from its header expires, if that is runLasts in the entry
}

// name of the periodic task, or of the task.
func (m *beatMessage) name() string {
	if name, ok := m.Headers["periodic_task_name"].(string); ok {
		return name
	}
	return fmt.Sprint(m.Headers["task"])
}

// runLasts is the option expires of entries whose time of sending a test wants to know.
const runLasts = 100000 * time.Second

// beatMessages returns what waits in queues, by the name of the periodic task, in the order of sending.
func (s *redisServer) beatMessages(t *testing.T, queues ...string) map[string][]beatMessage {
	t.Helper()
	found := map[string][]beatMessage{}
	for _, queue := range queues {
		for _, raw := range slices.Backward(s.strings(t, "LRANGE", queue, 0, -1)) {
			m := readBeatMessage(t, queue, raw)
			found[m.name()] = append(found[m.name()], m)
		}
	}
	return found
}

func readBeatMessage(t *testing.T, queue, raw string) beatMessage {
	t.Helper()
	m := beatMessage{Queue: queue}
	var envelope struct {
		Body       string
		Headers    map[string]any
		Properties map[string]any
	}
	if err := json.Unmarshal([]byte(raw), &envelope); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	body, err := base64.StdEncoding.DecodeString(envelope.Body)
	if err != nil {
		t.Fatal(err)
	}
	m.Body, m.Headers, m.Properties = string(body), envelope.Headers, envelope.Properties
	if expires, ok := m.Headers["expires"].(string); ok {
		at, err := time.Parse(time.RFC3339Nano, expires)
		if err != nil {
			t.Fatalf("expires: %v", err)
		}
		m.sent = at.Add(-runLasts)
		m.Headers["expires"] = "a date"
	}
	m.id, _ = m.Headers["id"].(string)
	// Each message has its own, and each program its language.
	for _, name := range []string{"id", "root_id", "origin", "lang"} {
		delete(m.Headers, name)
	}
	for _, name := range []string{"correlation_id", "delivery_tag", "reply_to", "expiration"} {
		delete(m.Properties, name)
	}
	return m
}
