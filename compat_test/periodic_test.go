package compat_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	calendar "github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/settings"
)

const periodicDir = "testdata/periodic"

// TestExportedBeatSchedule: entries of beat_schedule are exported as Celery's beat has them, and what only
// Python can run says so.
func TestExportedBeatSchedule(t *testing.T) {
	t.Parallel()
	last := time.Date(2026, 3, 28, 10, 0, 30, 0, time.UTC)
	refused := map[string]string{
		"own":          "schedule: an object of class periodic.Own is run by Python only",
		"clock":        "schedule: it has a clock of its own (nowfun)",
		"text":         "schedule: '*/5 * * * *' is none",
		"options list": "AttributeError: 'list' object has no attribute 'items'",
		"nan":          "args: NaN and Infinity",
		"object":       "kwargs: cannot be written as JSON",
		"lazy":         "args: a BeatLazyFunc is called by Python only",
	}
	for version, venv := range peers {
		for _, format := range []string{"json", "yaml", "toml"} {
			if format != "json" && venv != celery57 {
				continue
			}
			t.Run(version+" "+format, func(t *testing.T) {
				t.Parallel()
				a := app{venv: venv, broker: "redis://localhost:6379/3"}
				var celerys map[string]struct {
					Task, Schedule, Args, Kwargs string
					Remaining                    float64
				}
				if err := json.Unmarshal(pythonIn(t, periodicDir, a, "entries.py", last.Format("2006-01-02T15:04:05+00:00")), &celerys); err != nil {
					t.Fatal(err)
				}
				s, err := settings.Load(settings.Sources{File: export(t, periodicDir, a, "periodic", format)})
				if err != nil {
					t.Fatal(err)
				}
				if len(s.Warnings) > 0 {
					t.Errorf("warnings: %q", s.Warnings)
				}
				if s.RedBeatRedisURL != "redis://redbeat/9" || s.RedBeatLockKey == nil || *s.RedBeatLockKey != "" || s.RedBeatRedisOptions.SocketTimeout != 3*time.Second {
					t.Errorf("RedBeat: %q, %v, %+v", s.RedBeatRedisURL, s.RedBeatLockKey, s.RedBeatRedisOptions)
				}
				runs, can := 0, 11
				if format == "toml" { // has no long numbers, and no None
					can = 9
				}
				for name := range s.BeatSchedule {
					entry := beatEntryOf(t, s, name)
					why, is := refused[entry.Name]
					if (entry.Name == "fraction" || entry.Name == "options") && format == "toml" {
						why, is = "TOML has no None", true
					}
					if is || entry.NotExported != "" {
						if why == "" || !strings.HasPrefix(entry.NotExported, why) {
							t.Errorf("%s: %s", entry.Name, entry.NotExported)
						}
						continue
					}
					runs++
					want := celerys[entry.Name]
					sched, err := calendar.Decode(entry.Schedule, s.Location())
					if err != nil {
						t.Errorf("%s: %v", entry.Name, err)
						continue
					}
					if entry.Task != want.Task || !sameJSON(t, entry.Args, want.Args, "[]") || !sameJSON(t, entry.Kwargs, want.Kwargs, "{}") {
						t.Errorf("%+v, in Celery %+v", entry, want)
					}
					if venv != celery57 { // older ones print and count otherwise
						continue
					}
					if shown := strings.NewReplacer("[8, 9]", "[9, 8]").Replace(sched.String()); shown != want.Schedule {
						t.Errorf("%s is %s, in Celery %s", entry.Name, shown, want.Schedule)
					}
					next := last.Add(time.Duration(want.Remaining * float64(time.Second)))
					if got := sched.Next(last); got.Sub(next).Abs() > 3*time.Second {
						t.Errorf("%s is due at %v, in Celery at %v", entry.Name, got, next)
					}
				}
				if runs != can {
					t.Errorf("%d entries can run", runs)
				}
			})
		}
	}
}

// beatEntry is an entry of beat_schedule.
type beatEntry struct {
	Name, Task                      string
	Schedule, Args, Kwargs, Options json.RawMessage
	NotExported                     string `json:"not_exported"`
}

func beatEntryOf(t *testing.T, s *settings.Settings, name string) beatEntry {
	t.Helper()
	entry := beatEntry{Name: name}
	if err := json.Unmarshal(s.BeatSchedule[name], &entry); err != nil {
		t.Fatal(err)
	}
	return entry
}

// sameJSON compares what was exported with what Celery would send, byte for byte.
func sameJSON(t *testing.T, got json.RawMessage, want, none string) bool {
	t.Helper()
	if got == nil {
		return want == none
	}
	return string(got) == want
}

// TestExportedOptions: options of an entry are exported as apply_async means them.
func TestExportedOptions(t *testing.T) {
	t.Parallel()
	a := app{venv: celery57, broker: "redis://localhost:6379/3"}
	s, err := settings.Load(settings.Sources{File: export(t, periodicDir, a, "periodic", "json")})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"options": `{"queue": "q", "expires": 120.0, "eta": "2027-01-01T00:00:00+00:00", "priority": 3, "headers": {"x": [1]}, ` +
			`"link": {"task": "periodic.add", "args": [1], "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false}}`,
		"added": `{"expires": 10}`,
	}
	for name := range s.BeatSchedule {
		entry := beatEntryOf(t, s, name)
		if text, is := want[entry.Name]; is && string(entry.Options) == text {
			delete(want, entry.Name)
		} else if is {
			t.Errorf("%s: %s", entry.Name, entry.Options)
		}
	}
	if len(want) > 0 {
		t.Errorf("not exported so: %v", want)
	}
}

// TestExportedDatabases: the databases of Django's tables are exported as its routers have them.
func TestExportedDatabases(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: venv, broker: "redis://localhost:6379/3"}
			s, err := settings.Load(settings.Sources{File: export(t, periodicDir, a, "django_databases", "json")})
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Abs(filepath.Join(periodicDir, "relative.sqlite3"))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]any{"database": plain(t, s.Database.Django), "beat": plain(t, s.BeatDatabase.Django)}
			if diff := cmp.Diff(map[string]any{
				"database": map[string]any{
					"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": map[string]any{"timeout": 20.0}, "TIME_ZONE": "Asia/Tokyo",
				},
				"beat": map[string]any{
					"ENGINE": "django.db.backends.postgresql", "NAME": "beat", "USER": "u", "PASSWORD": "p@ss", "HOST": "h", "PORT": 5433.0,
					"TIME_ZONE": "Asia/Tokyo",
				},
			}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if s.DjangoCeleryBeatTZAware || s.BeatScheduler != "django_celery_beat.schedulers:DatabaseScheduler" || s.ResultBackend != "django-db" {
				t.Errorf("%v, %q, %q", s.DjangoCeleryBeatTZAware, s.BeatScheduler, s.ResultBackend)
			}
		})
	}
}
