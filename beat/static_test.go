package beat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/beat"
)

// TestFromSettings: entries of beat_schedule, in all the forms that files have.
func TestFromSettings(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string]json.RawMessage{}
	want := map[string]string{ // name → what the schedule or the error says
		"line":    "<crontab: */5 * * * * (m/h/dM/MY/d)>",
		"cron":    "<crontab: 0 8 * * mon-fri (m/h/dM/MY/d)>",
		"number":  "<freq: 2.50 seconds>",
		"full":    "<freq: 1.00 hour>",
		"notask":  "it names no task",
		"nowhen":  "schedule: there is no schedule",
		"list":    "it is a list",
		"odd":     "there is no 'option' in an entry. Did you mean 'options'?",
		"badargs": "its args is a dict",
		"never":   "schedule: ",
		"python":  "schedule: an object of class shop.Own is run by Python only",
	}
	for name, text := range map[string]string{
		"line":    `{"task": "t", "schedule": "*/5 * * * *"}`,
		"cron":    `{"task": "t", "schedule": {"crontab": {"minute": 0, "hour": 8, "day_of_week": "mon-fri"}}, "args": null, "options": {}}`,
		"number":  `{"task": "t", "schedule": 2.5}`,
		"full":    `{"task": "t", "schedule": 3600, "relative": true, "args": [1], "kwargs": {"a": 2}, "options": {"queue": "q"}}`,
		"notask":  `{"schedule": 3}`,
		"nowhen":  `{"task": "t"}`,
		"list":    `[1]`,
		"odd":     `{"task": "t", "schedule": 3, "option": {}}`,
		"badargs": `{"task": "t", "schedule": 3, "args": {}}`,
		"never":   `{"task": "t", "schedule": "0 0 31 2 *"}`,
		"python":  `{"task": "t", "not_exported": "schedule: an object of class shop.Own is run by Python only"}`,
	} {
		tasks[name] = json.RawMessage(text)
	}
	source := beat.FromSettings(tasks, zone)
	entries, err := source.Load(t.Context())
	if err != nil || len(entries) != len(want) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		var got string
		if e.Err != nil {
			got = e.Err.Error()
		} else {
			got = e.Schedule.String()
		}
		if !strings.HasPrefix(got, want[e.Name]) {
			t.Errorf("%s: %s, want %s", e.Name, got, want[e.Name])
		}
	}
	full := entries[2]
	if full.Name != "full" || string(full.Args) != "[1]" || string(full.Kwargs) != `{"a": 2}` || string(full.Options) != `{"queue": "q"}` {
		t.Errorf("%+v", full)
	}
	from := time.Date(2026, 7, 1, 10, 20, 0, 0, time.UTC)
	if at := full.Schedule.Next(from); !at.Equal(time.Date(2026, 7, 1, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("a relative hour is due at %v", at)
	}
	if changed, err := source.Changed(t.Context()); changed || err != nil || source.Ran(t.Context(), nil) != nil || source.Name() != "beat_schedule" {
		t.Error("the entries of a file changed")
	}
}
