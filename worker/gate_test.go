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
	room := &pool{backlog: newBacklog(1, 1, false, nil)}
	full := &pool{backlog: newBacklog(0, 1, false, nil)}
	g := gate{
		maxRedeliveries: 2, revocations: &revocations{ids: newMemory(10, time.Hour)},
		runner: &runner{pools: []*pool{room, full}},
	}
	g.revocations.ids.add(now.Add(-time.Minute), "revoked")
	g.revocations.ids.add(now.Add(-2*time.Hour), "revoked long ago")
	known, limited, busy := &taskConfig{pool: room}, &taskConfig{pool: room}, &taskConfig{pool: full}
	limited.limiter.Store(newLimiter(new(limits), 1))
	tests := []struct {
		name    string
		config  *taskConfig
		task    protocol.Task
		request request
		want    verdict
	}{
		{"plain", known, protocol.Task{}, request{}, run},
		{"unknown wins over expired", nil, protocol.Task{Expires: now.Add(-time.Second)}, request{}, unknown},
		{"expired", known, protocol.Task{Expires: now.Add(-time.Nanosecond)}, request{}, expired},
		{"expires now", known, protocol.Task{Expires: now}, request{}, run},
		{"expired before its ETA", known, protocol.Task{Expires: now.Add(-1), ETA: now.Add(time.Hour)}, request{}, expired},
		{"not due", known, protocol.Task{ETA: now.Add(time.Nanosecond)}, request{}, hold},
		{"due now", known, protocol.Task{ETA: now}, request{}, run},
		{"overdue", known, protocol.Task{ETA: now.Add(-time.Hour)}, request{}, run},
		{"expires after its ETA", known, protocol.Task{ETA: now.Add(1), Expires: now.Add(2)}, request{}, hold},
		{"revoked", known, protocol.Task{ID: "revoked"}, request{}, revoked},
		{"revoked before its ETA", known, protocol.Task{ID: "revoked", ETA: now.Add(1)}, request{}, revoked},
		{"expired and revoked", known, protocol.Task{ID: "revoked", Expires: now.Add(-1)}, request{}, expired},
		{"revoked too long ago", known, protocol.Task{ID: "revoked long ago"}, request{}, run},
		{"workers died of it", known, protocol.Task{}, request{redeliveries: 3}, poisoned},
		{"workers died, not too often", known, protocol.Task{}, request{redeliveries: 2}, run},
		{"rate limited", limited, protocol.Task{}, request{}, limit},
		{"rate limited, ETA first", limited, protocol.Task{ETA: now.Add(1)}, request{}, hold},
		{"has its token", limited, protocol.Task{}, request{limited: true}, run},
		{"its executor is full", busy, protocol.Task{}, request{}, crowded},
		{"its executor is full, its ETA has come", busy, protocol.Task{ETA: now}, request{due: now}, run},
		{"its executor is full, it was in the broker's keeping", busy, protocol.Task{}, request{unparked: true}, run},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &tt.request
			r.Task, r.task = &tt.task, tt.config
			if got := g.decide(r, now); got != tt.want {
				t.Errorf("decide = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestOptionsOfATask: what a task says wins over the worker's defaults, and annotations
// win over both, a task's own after those for all.
func TestOptionsOfATask(t *testing.T) {
	t.Parallel()
	yes, no, one, two := true, false, 1, 2
	c := taskConfigs{
		defaults: tasks.Options{AcksLate: &yes, TrackStarted: &yes},
		annotations: []map[string]tasks.Options{
			{"app.a": {MaxRetries: &two, IgnoreResult: &no}},
			{"*": {IgnoreResult: &yes}, "app.a": {MaxRetries: &one, Trail: &no}},
			{"*": {IgnoreResult: &no, MaxRetries: &one}},
		},
	}
	o := c.optionsOf(&tasks.Entry{Name: "app.a", Options: tasks.Options{TrackStarted: &no}})
	if !*o.AcksLate || *o.TrackStarted || !*o.IgnoreResult || *o.MaxRetries != 2 || o.Trail != nil {
		t.Errorf("options of app.a: acks late %t, track started %t, ignore result %t, max retries %d",
			*o.AcksLate, *o.TrackStarted, *o.IgnoreResult, *o.MaxRetries)
	}
	if o = c.optionsOf(&tasks.Entry{Name: "app.b"}); !*o.IgnoreResult || o.MaxRetries != nil {
		t.Errorf("options of app.b: ignore result %t, max retries %v", *o.IgnoreResult, o.MaxRetries)
	}
}
