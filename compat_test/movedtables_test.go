package compat_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apium "github.com/apium/apium/app"
	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/djangobeat"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/settings"
)

// movedSite is a project of Django's with rows that were made at the beginning of a span.
func (s span) movedSite(t *testing.T, entries []fields, variables ...string) *periodicSite {
	t.Helper()
	path, err := filepath.Abs(appDir)
	if err != nil {
		t.Fatal(err)
	}
	variables = append(variables, "PYTHONPATH="+path, "CLOCK_FROM="+s.from.Format(time.RFC3339), "CLOCK_UNTIL="+s.until.Format(time.RFC3339))
	site := newPeriodicSite(t, sqltest.SQLite, variables...)
	if len(entries) > 0 {
		site.do(step{"create", entries})
	}
	return site
}

// settings are those of the project.
func (s *periodicSite) settings() *settings.Settings {
	s.t.Helper()
	conf, err := settings.Load(settings.Sources{File: export(s.t, djangoBeatDir, s.app, "proj", "json")})
	if err != nil {
		s.t.Fatal(err)
	}
	return conf
}

// tablesIn opens the tables of a database, with the entries of beat_schedule.
func tablesIn(db *sqltest.Database, conf *settings.Settings) func(*testing.T) beat.Source {
	return func(t *testing.T) beat.Source {
		t.Helper()
		raw, err := json.Marshal(db.Django())
		if err != nil {
			t.Fatal(err)
		}
		source, err := djangobeat.New(djangobeat.Config{Django: raw, Static: apium.BeatSchedule(conf).Entries(), Location: conf.Location()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { source.Close() })
		return source
	}
}

// runsIn are what rows say of runs, but when the last one was.
func runsIn(t *testing.T, db *sqltest.Database) map[string]periodicRow {
	t.Helper()
	found, err := db.Open(t).Query("SELECT name, enabled, total_run_count, args FROM django_celery_beat_periodictask")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	rows := map[string]periodicRow{}
	for found.Next() {
		var name string
		var row periodicRow
		if err := found.Scan(&name, &row.Enabled, &row.TotalRunCount, &row.Args); err != nil {
			t.Fatal(err)
		}
		rows[name] = row
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestDjangoBeatMovedClock: while hours pass and clocks are changed, apium beat sends what is in Django's tables when
// Celery's beat does: one-offs and clocked tasks, also at times that come twice or are skipped, what starts and ends
// meanwhile, and fractions of seconds. Rows say the same afterwards.
func TestDjangoBeatMovedClock(t *testing.T) {
	t.Parallel()
	for name, days := range map[string][3]string{
		"autumn": {"Europe/Berlin", "2026-10-24T22:50:17Z", "2026-10-25T02:20:30Z"},
		"spring": {"Europe/Berlin", "2027-03-27T23:50:17Z", "2027-03-28T02:20:30Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpan(t, days)
			site := s.movedSite(t, s.nightly(t))
			db := site.db.Copy(t)
			s.celerys(t, djangoBeatDir, "proj", site.app, "-S", "django", "--max-interval", "60")
			conf := site.settings()
			sent := s.apiums(t, conf, tablesIn(db, conf))
			s.compare(t, site.sent(), sent)
			for _, name := range []string{"once at half past two", "once in half an hour", "clocked, soon", "clocked, at half past two", "clocked, an hour later", "clocked, before"} {
				if n := len(sent[name]); n != 1 {
					t.Errorf("%s was sent %d times", name, n)
				}
			}
			celery := runsIn(t, site.db)
			delete(celery, "celery.backend_cleanup") // Python's beat adds a row for itself
			if diff := cmp.Diff(celery, runsIn(t, db)); diff != "" {
				t.Errorf("rows (-celery +apium):\n%s", diff)
			}
		})
	}
}

// nightly are rows for a night in which clocks are changed.
func (s span) nightly(t *testing.T) (entries []fields) {
	t.Helper()
	at := func(clock string) float64 { // in UTC
		moment, err := time.Parse(time.DateTime, s.until.Format(time.DateOnly)+" "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return moment.Sub(s.from).Seconds()
	}
	for name, e := range map[string]fields{
		"often":                     {"interval": []any{90, "seconds"}},
		"uneven":                    {"interval": []any{600250000, "microseconds"}},
		"night":                     {"crontab": []any{"*/20 1-3 * * *", "Europe/Berlin"}},
		"elsewhere":                 {"crontab": []any{"*/10 * * * *", "Asia/Kolkata"}},
		"once at half past two":     {"crontab": []any{"30 2 * * *", "Europe/Berlin"}, "one_off": true},
		"once in half an hour":      {"interval": []any{30, "minutes"}, "one_off": true},
		"clocked, soon":             {"clocked_in": 2.5, "one_off": true},
		"clocked, at half past two": {"clocked_in": at("00:30:00"), "one_off": true},
		"clocked, an hour later":    {"clocked_in": at("01:30:00"), "one_off": true},
		"clocked, before":           {"clocked_in": -86400, "one_off": true},
		"clocked, after":            {"clocked_in": at("12:00:00"), "one_off": true},
		"clocked, off":              {"clocked_in": 60, "one_off": true, "enabled": false},
		"starting":                  {"interval": []any{25, "minutes"}, "start_time_in": 4000},
		"expiring":                  {"interval": []any{17, "minutes"}, "expires_in": 6000},
	} {
		if e["name"], e["task"] = name, name; e["expires_in"] == nil {
			e["expire_seconds"] = int(runLasts.Seconds())
		}
		entries = append(entries, e)
	}
	return entries
}

// TestWhatCelerysBeatWritesIntoTables: of beat_schedule Celery's DatabaseScheduler loses most options, and, as soon as it has
// read its rows, fractions of seconds: half a second is always due. Ours keeps all.
func TestWhatCelerysBeatWritesIntoTables(t *testing.T) {
	t.Parallel()
	s := newSpan(t, [3]string{"UTC", "2026-10-20T10:00:00Z", "2026-10-20T10:00:11Z"})
	site := s.movedSite(t, nil, `BEAT_SCHEDULE={
		"half": {"task": "half", "schedule": 0.5}, "uneven": {"task": "uneven", "schedule": 2.5},
		"options": {"task": "options", "schedule": 3, "options": {"expires": 60, "countdown": 5, "time_limit": 7, "queue": "q"}}}`, "CLOCK_LOOK=0.05")
	db := site.db.Copy(t)
	before := span{zone: s.zone, from: s.from.Add(-time.Second), until: s.from}
	before.celerys(t, djangoBeatDir, "proj", site.app, "-S", "django")
	site.server.do(t, "FLUSHALL")
	s.celerys(t, djangoBeatDir, "proj", site.app, "-S", "django")
	theirs := site.sent()
	const gone = "is the defect gone that docs/periodic.md names?"
	if n := len(theirs["half"]); n < 100 { // at every look
		t.Errorf("Celery's beat has sent what is due every 0.5 seconds %d times in 11: %s", n, gone)
	}
	if n := len(theirs["uneven"]); n != 5 {
		t.Errorf("Celery's beat has sent what is due every 2.5 seconds %d times in 11: %s", n, gone)
	}
	limits := func(m beatMessage) []any {
		return []any{m.Queue, m.Headers["expires"], m.Headers["eta"], m.Headers["timelimit"]}
	}
	if diff := cmp.Diff([]any{"q", nil, nil, []any{nil, nil}}, limits(theirs["options"][0])); diff != "" {
		t.Errorf("%s (-want +got):\n%s", gone, diff)
	}
	conf := site.settings()
	s.until = s.until.Add(-time.Second / 4)
	sent := s.apiums(t, conf, tablesIn(db, conf))
	for name, want := range map[string]int{"half": 21, "uneven": 4, "options": 3} {
		if n := len(sent[name]); n != want {
			t.Errorf("%s was sent %d times, want %d", name, n, want)
		}
	}
	kept := limits(sent["options"][0])
	if eta, _ := kept[2].(string); !strings.HasPrefix(eta, "2026-10-20T10:00:08") {
		t.Errorf("eta: %v", kept[2])
	}
	kept[2] = nil
	if diff := cmp.Diff([]any{"q", "a date", nil, []any{7.0, nil}}, kept); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}
