package worker

import (
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

func TestGate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	entry := &tasks.Entry{}
	tests := []struct {
		name  string
		entry *tasks.Entry
		task  protocol.Task
		want  verdict
	}{
		{"plain", entry, protocol.Task{}, run},
		{"unknown wins over expired", nil, protocol.Task{Expires: now.Add(-time.Second)}, unknown},
		{"expired", entry, protocol.Task{Expires: now.Add(-time.Nanosecond)}, expired},
		{"expires now", entry, protocol.Task{Expires: now}, run},
		{"expired before its ETA", entry, protocol.Task{Expires: now.Add(-1), ETA: now.Add(time.Hour)}, expired},
		{"not due", entry, protocol.Task{ETA: now.Add(time.Nanosecond)}, hold},
		{"due now", entry, protocol.Task{ETA: now}, run},
		{"overdue", entry, protocol.Task{ETA: now.Add(-time.Hour)}, run},
		{"expires after its ETA", entry, protocol.Task{ETA: now.Add(1), Expires: now.Add(2)}, hold},
		{"in a group", entry, protocol.Task{GroupID: "g"}, run},
		{"chord member", entry, protocol.Task{Embed: protocol.Embed{Chord: []byte("{}")}}, unsupported},
		{"chain step", entry, protocol.Task{Embed: protocol.Embed{Chain: []byte("[{}]")}}, unsupported},
		{"with callbacks", entry, protocol.Task{Embed: protocol.Embed{Callbacks: []byte("[{}]")}}, unsupported},
		{"with errbacks", entry, protocol.Task{Embed: protocol.Embed{Errbacks: []byte("[{}]")}}, unsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &request{entry: tt.entry}
			r.Task = &tt.task
			if got := gate(r, now); got != tt.want {
				t.Errorf("gate = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOptionsPrecedence(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	tests := []struct {
		name         string
		setting      bool
		task, header *bool
		want         bool
	}{
		{"setting", true, nil, nil, true},
		{"task wins over setting", true, &no, nil, false},
		{"header wins over task", false, &no, &yes, true},
		{"header wins in both directions", true, &yes, &no, false},
	}
	for _, tt := range tests {
		if got := pick(tt.setting, tt.task, tt.header); got != tt.want {
			t.Errorf("%s: pick = %v, want %v", tt.name, got, tt.want)
		}
	}
}
