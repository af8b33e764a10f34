package settings

import (
	"encoding/json"
	"testing"
)

// Entries of beat_schedule are kept as they were written: arguments of Python's are exact.
func TestBeatSchedule(t *testing.T) {
	t.Parallel()
	s := loadJSON(t, json.RawMessage(`{"CELERYBEAT_SCHEDULE": {
		"z": {"task": "t", "schedule": 2.0, "args": [1, 2.0, 1e3, 123456789012345678901234567890], "kwargs": {"b": 1, "a": null}},
		"bad": 3
	}}`))
	for name, want := range map[string]string{
		"z":   `{"task": "t", "schedule": 2.0, "args": [1, 2.0, 1000.0, 123456789012345678901234567890], "kwargs": {"b": 1, "a": null}}`,
		"bad": `3`,
	} {
		if got := string(s.BeatSchedule[name]); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if len(s.Warnings) > 0 {
		t.Error(s.Warnings)
	}
}

// The variable of celery beat's own is no setting.
func TestFileOfBeatIsNoSetting(t *testing.T) {
	t.Parallel()
	s, err := Load(Sources{Environ: []string{"CELERY_BEAT_SCHEDULE=/var/run/celerybeat-schedule", "CELERY_BEAT_SCHEDULER=django"}})
	if err != nil {
		t.Fatal(err)
	}
	if s.IsSet("beat_schedule") || s.BeatScheduler != "django" {
		t.Error(s.BeatSchedule, s.BeatScheduler)
	}
}

// Without a key RedBeat takes no lock; a key that was not given is the default.
func TestRedBeatLockKey(t *testing.T) {
	t.Parallel()
	if s := loadJSON(t, json.RawMessage(`{}`)); s.RedBeatLockKey != nil {
		t.Error(*s.RedBeatLockKey)
	}
	if s := loadJSON(t, json.RawMessage(`{"redbeat_lock_key": null}`)); s.RedBeatLockKey == nil || *s.RedBeatLockKey != "" {
		t.Error(s.RedBeatLockKey)
	}
}
