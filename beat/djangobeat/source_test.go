package djangobeat

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/internal/sqltest"
)

// Every column means what it means to Python's DatabaseScheduler.
func TestLoad(t *testing.T) {
	t.Parallel()
	onEach(t, tables, func(t *testing.T, r *rig) {
		last := time.Date(2026, 11, 29, 10, 6, 6, 657715000, time.UTC)
		at := time.Date(2026, 12, 24, 18, 0, 0, 5000, time.UTC)
		r.insert("intervalschedule", "id", 1, "every", 90, "period", "minutes")
		r.insert("crontabschedule", "id", 1, "minute", "0,30", "hour", "*/2", "day_of_week", "mon-fri", "day_of_month", "*", "month_of_year", "*", "timezone", "Europe/Berlin")
		r.insert("solarschedule", "id", 1, "event", "sunset", "latitude", 52.5, "longitude", 13.4)
		r.insert("clockedschedule", "id", 1, "clocked_time", at)
		r.task(1, "plain", "interval_id", 1, "args", `[1, "ä"]`, "kwargs", `{"a": null}`, "last_run_at", last, "total_run_count", 7)
		r.task(2, "all", "crontab_id", 1, "queue", "q", "exchange", "x", "routing_key", "r", "priority", 3, "headers", `{"h": 1}`, "expire_seconds", 60, "start_time", at)
		r.task(3, "late", "solar_id", 1, "expires", at, "one_off", true, "args", "", "kwargs", "", "headers", "")
		r.task(4, `clocked "4"`, "clocked_id", 1, "one_off", true)
		r.task(5, "off", "interval_id", 1, "enabled", false)
		found := r.load()
		if len(found) != 4 {
			t.Errorf("%d entries", len(found))
		}
		e := found["plain"]
		if e.Err != nil || e.Task != "t.plain" || string(e.Args) != `[1, "\u00e4"]` || string(e.Kwargs) != `{"a": null}` || !e.LastRunAt.Equal(last) || e.TotalRunCount != 7 ||
			!e.Since.IsZero() || !e.Schedule.Next(last).Equal(last.Add(90*time.Minute)) || e.OneOff || !e.StartTime.IsZero() || !e.Expires.IsZero() {
			t.Errorf("plain: %+v", e)
		}
		if want := `{"headers": {"periodic_task_name": "plain"}}`; string(e.Options) != want {
			t.Errorf("plain: %s, want %s", e.Options, want)
		}
		e = found["all"]
		if want := `{"queue": "q", "exchange": "x", "routing_key": "r", "priority": 3, "expires": 60, "headers": {"h": 1, "periodic_task_name": "all"}}`; string(e.Options) != want {
			t.Errorf("all: %s\nwant %s", e.Options, want)
		}
		if !e.StartTime.Equal(at) || !e.Since.Equal(never) || !e.Schedule.Next(last).Equal(time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC).Add(-time.Hour)) {
			t.Errorf("all: %+v, due at %s", e, e.Schedule.Next(last))
		}
		e = found["late"]
		if want := `{"expires": "2026-12-24T18:00:00.000005+00:00", "headers": {"periodic_task_name": "late"}}`; string(e.Options) != want {
			t.Errorf("late: %s\nwant %s", e.Options, want)
		}
		if e.Err != nil || !e.Expires.Equal(at) || !e.OneOff || e.Args != nil || e.Kwargs != nil || !strings.Contains(e.Schedule.String(), "52.500000") {
			t.Errorf("late: %+v", e)
		}
		e = found[`clocked "4"`]
		if e.Err != nil || !e.Schedule.Next(last).Equal(at) || !strings.Contains(string(e.Options), `"clocked \"4\""`) {
			t.Errorf("clocked: %+v", e)
		}
	})
}

// The definition of a crontab is another one in another zone, though Celery logs it alike.
func TestDefinition(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqltest.SQLite, tables)
	for id, zone := range []string{"Europe/Berlin", "Asia/Tokyo"} {
		r.insert("crontabschedule", "id", id, "minute", "0", "hour", "4", "day_of_week", "*", "day_of_month", "*", "month_of_year", "*", "timezone", zone)
		r.task(id, zone, "crontab_id", id)
	}
	if found := r.load(); found["Europe/Berlin"].Definition == found["Asia/Tokyo"].Definition {
		t.Errorf("both are %s", found["Asia/Tokyo"].Definition)
	}
}

// What cannot be used says why, and stays as it is.
func TestUnusable(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqltest.SQLite, tables)
	r.insert("intervalschedule", "id", 1, "every", 0, "period", "seconds")
	r.insert("intervalschedule", "id", 2, "every", 2, "period", "weeks")
	r.insert("intervalschedule", "id", 3, "every", 1<<31-1, "period", "days")
	r.insert("intervalschedule", "id", 4, "every", 1, "period", "days")
	r.insert("crontabschedule", "id", 1, "minute", "61", "hour", "*", "day_of_week", "*", "day_of_month", "*", "month_of_year", "*", "timezone", "UTC")
	r.insert("crontabschedule", "id", 2, "minute", "*", "hour", "*", "day_of_week", "*", "day_of_month", "*", "month_of_year", "*", "timezone", "Europe/Atlantis")
	r.insert("solarschedule", "id", 1, "event", "dusk", "latitude", 1, "longitude", 1)
	want := map[string]string{}
	bad := func(name, text string, columns ...any) {
		want[name] = text
		r.task(len(want), name, columns...)
	}
	bad("zero", "every 0 seconds is not possible", "interval_id", 1)
	bad("period", `"weeks" is none of`, "interval_id", 2)
	bad("long", "too long", "interval_id", 3)
	bad("minute", "61", "crontab_id", 1)
	bad("zone", "Europe/Atlantis", "crontab_id", 2)
	bad("event", "dusk", "solar_id", 1)
	bad("removed", "its schedule was removed", "interval_id", 77)
	bad("none", "it has no schedule")
	bad("args", "args: ", "interval_id", 4, "args", "[1,")
	bad("list", "args: a dict, and must be a list", "interval_id", 4, "args", "{}")
	bad("kwargs", "kwargs: a list, and must be a dict", "interval_id", 4, "kwargs", "[]")
	bad("headers", "headers: ", "interval_id", 4, "headers", "{x}")
	for name, e := range r.load() {
		if e.Err == nil || !strings.Contains(e.Err.Error(), want[name]) || e.Task != "t."+name {
			t.Errorf("%s: %v, want %q", name, e.Err, want[name])
		}
	}
	var enabled int
	if err := r.db.QueryRow("SELECT count(*) FROM django_celery_beat_periodictask WHERE enabled").Scan(&enabled); err != nil || enabled != len(want) {
		t.Errorf("%d of %d are enabled, %v", enabled, len(want), err)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	onEach(t, tables, func(t *testing.T, r *rig) {
		if !r.hasChanged() { // nothing was loaded
			t.Error("at first, nothing has changed")
		}
		r.load()
		if r.hasChanged() {
			t.Error("there is nothing, and it has changed")
		}
		r.insert("periodictasks", "ident", 1, "last_update", changedAt)
		if !r.hasChanged() {
			t.Error("a first change is none")
		}
		r.load()
		r.change("UPDATE django_celery_beat_periodictasks SET last_update = ?", r.db.Date(changedAt.Add(-time.Microsecond)))
		if !r.hasChanged() {
			t.Error("a change by who has another clock is none")
		}
		r.load()
		r.loaded = time.Now().Add(-reloadEvery)
		if !r.hasChanged() {
			t.Error("not all is read after a minute")
		}
	})
}

// columns of what tells of runs.
type told struct {
	enabled bool
	lastRun sql.NullString
	count   int
	changed time.Time
}

func (r *rig) told(name string) (got told) {
	r.t.Helper()
	table := r.layout.table(r.db.Dialect, "periodictask")
	err := r.db.QueryRow(r.db.Dialect.Bind("SELECT enabled, last_run_at, total_run_count, date_changed FROM "+table+" WHERE name = ?"), name).
		Scan(&got.enabled, &got.lastRun, &got.count, r.db.Time(&got.changed))
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func TestRan(t *testing.T) {
	t.Parallel()
	onEach(t, tables, func(t *testing.T, r *rig) {
		r.insert("periodictasks", "ident", 1, "last_update", changedAt)
		r.insert("intervalschedule", "id", 1, "every", 90, "period", "minutes")
		r.task(1, "a", "interval_id", 1)
		r.task(2, "once", "interval_id", 1, "one_off", true)
		r.task(3, "over", "interval_id", 1, "expires", changedAt, "total_run_count", 3, "last_run_at", changedAt)
		r.task(4, "longer", "interval_id", 1, "expires", changedAt)
		r.task(5, "disabled", "interval_id", 1)
		r.task(6, "deleted", "interval_id", 1)
		found := r.load()
		r.change("UPDATE django_celery_beat_periodictask SET enabled = ? WHERE id = 5", false)
		r.change("UPDATE django_celery_beat_periodictask SET expires = ? WHERE id = 4", r.db.Date(time.Now().Add(time.Hour)))
		r.change("DELETE FROM django_celery_beat_periodictask WHERE id = 6")
		at := time.Now().UTC().Truncate(time.Microsecond)
		run := func(name string, ended bool) beat.Run {
			return beat.Run{Entry: found[name], Slot: at, At: at, Count: 5, Ended: ended}
		}
		stranger := beat.Run{Entry: &beat.Entry{Name: "stranger"}, Slot: at, At: at, Count: 1}
		if err := r.Ran(t.Context(), []beat.Run{run("a", false), run("disabled", false), run("deleted", false), stranger}); err != nil {
			t.Fatal(err)
		}
		if r.hasChanged() {
			t.Error("a run is a change")
		}
		for range 2 { // it may be told again
			if err := r.Ran(t.Context(), []beat.Run{run("once", true), run("over", true), run("longer", true)}); err != nil {
				t.Fatal(err)
			}
		}
		if !r.hasChanged() {
			t.Error("that rows are disabled is no change, and other beats do not hear of it")
		}
		if got := r.load()["a"]; !got.LastRunAt.Equal(at) || got.TotalRunCount != 5 || !got.Since.IsZero() {
			t.Errorf("a: %+v", got)
		}
		for name, want := range map[string]told{
			"once": {enabled: false, count: 0}, "over": {enabled: false, count: 3}, "longer": {enabled: true}, "disabled": {enabled: false},
		} {
			got := r.told(name)
			if ended := name == "once" || name == "over"; ended != got.changed.After(at) {
				t.Errorf("%s was changed at %s", name, got.changed)
			}
			if got.changed = want.changed; got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	})
}

// Each of many runs is written into its own row.
func TestManyRan(t *testing.T) {
	t.Parallel()
	onEach(t, tables, func(t *testing.T, r *rig) {
		const n = 2*atATime + 1
		r.insert("intervalschedule", "id", 1, "every", 90, "period", "minutes")
		for i := range n {
			r.task(1+i, fmt.Sprint(i), "interval_id", 1)
		}
		at := time.Now().UTC().Truncate(time.Microsecond)
		var runs []beat.Run
		for name, e := range r.load() {
			i, _ := strconv.Atoi(name) // it is one
			runs = append(runs, beat.Run{Entry: e, Slot: at, At: at.Add(time.Duration(i) * time.Second), Count: 7 + i})
		}
		if err := r.Ran(t.Context(), runs[1:]); err != nil {
			t.Fatal(err)
		}
		for name, e := range r.load() {
			i, _ := strconv.Atoi(name) // it is one
			if name == runs[0].Entry.Name {
				if e.TotalRunCount != 0 {
					t.Errorf("%s has not run, and has %+v", name, e)
				}
			} else if want := at.Add(time.Duration(i) * time.Second); e.TotalRunCount != 7+i || !e.LastRunAt.Equal(want) {
				t.Errorf("%s has run %d times, at %v last; want %d and %v", name, e.TotalRunCount, e.LastRunAt, 7+i, want)
			}
		}
	})
}

// A one-off that Python's beat has sent, and not disabled yet, is disabled without another run, as Python does it.
func TestOneOffThatRan(t *testing.T) {
	t.Parallel()
	onEach(t, tables, func(t *testing.T, r *rig) {
		r.insert("intervalschedule", "id", 1, "every", 90, "period", "minutes")
		r.task(1, "once", "interval_id", 1, "one_off", true, "total_run_count", 1, "last_run_at", changedAt)
		if e := r.load()["once"]; !e.Disabled {
			t.Errorf("it is %+v", e)
		}
		if got := r.told("once"); got.enabled || got.count != 0 || got.lastRun.Valid {
			t.Errorf("its row is %+v", got)
		}
		if found := r.load(); len(found) != 0 {
			t.Errorf("it is still there: %+v", found)
		}
	})
}

// A clocked row that is saved after its time, or enabled again, is due then.
func TestClockedInThePast(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqltest.SQLite, tables)
	r.insert("clockedschedule", "id", 1, "clocked_time", changedAt.Add(-time.Hour))
	r.task(1, "c", "clocked_id", 1, "one_off", true)
	e := r.load()["c"]
	if next := e.Schedule.Next(e.Since); next.IsZero() || next.Sub(changedAt) > time.Millisecond {
		t.Errorf("it is due at %s", next)
	}
	before := e.Definition
	r.change("UPDATE django_celery_beat_periodictask SET date_changed = ?", r.db.Date(changedAt.Add(time.Hour)))
	if e := r.load()["c"]; e.Definition == before {
		t.Error("who saves it again does not get another run")
	}
}

// Entries of beat_schedule count where there is a row of their name, which says whether they are enabled.
func TestStatic(t *testing.T) {
	t.Parallel()
	every, err := schedule.NewEvery(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	static := func(name string) *beat.Entry {
		return &beat.Entry{Name: name, Task: "t.static", Schedule: every, Options: []byte(`{"queue": "s"}`)}
	}
	r := newRig(t, sqltest.SQLite, tables)
	r.open(Config{Static: []*beat.Entry{static("both"), static("off"), static("alone")}})
	r.insert("intervalschedule", "id", 1, "every", 90, "period", "minutes")
	r.task(1, "both", "interval_id", 1, "last_run_at", changedAt, "total_run_count", 2)
	r.task(2, "off", "interval_id", 1, "enabled", false)
	r.task(3, "row", "interval_id", 1)
	found := r.load()
	if len(found) != 4 || found["both"].Task != "t.static" || found["both"].TotalRunCount != 2 || !found["both"].LastRunAt.Equal(changedAt) ||
		!found["off"].Disabled || found["row"].Task != "t.row" || found["alone"].Schedule != every {
		t.Errorf("%+v", found)
	}
	for _, name := range []string{"both", "alone"} {
		if want := fmt.Sprintf(`{"queue": "s", "headers": {"periodic_task_name": %q}}`, name); string(found[name].Options) != want {
			t.Errorf("%s has the options %s, want %s", name, found[name].Options, want)
		}
	}
	alone := beat.Run{Entry: found["alone"], Slot: changedAt, At: changedAt, Count: 1}
	if err := r.Ran(t.Context(), []beat.Run{alone, {Entry: found["both"], Slot: changedAt, At: changedAt, Count: 3}}); err != nil || r.told("both").count != 3 {
		t.Errorf("%+v, %v", r.told("both"), err)
	}
}

// Without USE_TZ, dates are those of TIME_ZONE. Without DJANGO_CELERY_BEAT_TZ_AWARE, Python writes last_run_at in
// UTC all the same, and crontabs have no zone of their own.
func TestZones(t *testing.T) {
	t.Parallel()
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	onEach(t, tables, func(t *testing.T, r *rig) {
		r.open(Config{DatesIn: shanghai, NotAware: true, Location: shanghai})
		r.insert("crontabschedule", "id", 1, "minute", "0", "hour", "4", "day_of_week", "*", "day_of_month", "*", "month_of_year", "*", "timezone", "Europe/Berlin")
		r.task(1, "a", "crontab_id", 1)
		e := r.load()["a"]
		if !e.Since.Equal(changedAt) || !e.Schedule.Next(changedAt).Equal(time.Date(2026, 11, 29, 20, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v, due at %s", e, e.Schedule.Next(changedAt))
		}
		at := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
		if err := r.Ran(t.Context(), []beat.Run{{Entry: e, Slot: at, At: at, Count: 1}}); err != nil {
			t.Fatal(err)
		}
		if e := r.load()["a"]; !e.LastRunAt.Equal(at) {
			t.Errorf("it ran at %s", e.LastRunAt)
		}
		r.open(Config{DatesIn: shanghai})
		if e := r.load()["a"]; !e.LastRunAt.Equal(at.Add(-8 * time.Hour)) {
			t.Errorf("in the column is %s", e.LastRunAt)
		}
	})
}

// The tables of django-celery have less, and mean the same.
func TestOldTables(t *testing.T) {
	t.Parallel()
	onEach(t, oldTables, func(t *testing.T, r *rig) {
		tokyo, err := time.LoadLocation("Asia/Tokyo")
		if err != nil {
			t.Fatal(err)
		}
		r.open(Config{Old: true, Location: tokyo})
		r.insert("periodictasks", "ident", 1, "last_update", changedAt)
		r.insert("intervalschedule", "id", 1, "every", 90, "period", "minutes")
		r.insert("crontabschedule", "id", 1, "minute", "0", "hour", "4", "day_of_week", "*", "day_of_month", "*", "month_of_year", "*")
		r.task(1, "a", "interval_id", 1, "queue", "q", "args", "[1]")
		r.task(2, "b", "crontab_id", 1, "expires", changedAt)
		found := r.load()
		a, b := found["a"], found["b"]
		if a.Err != nil || string(a.Options) != `{"queue": "q"}` || string(a.Args) != "[1]" || !a.Since.Equal(changedAt) || a.OneOff {
			t.Errorf("a: %+v", a)
		}
		if b.Err != nil || !b.Schedule.Next(changedAt).Equal(time.Date(2026, 11, 29, 19, 0, 0, 0, time.UTC)) || !b.Expires.Equal(changedAt) {
			t.Errorf("b: %+v", b)
		}
		if err := r.Ran(t.Context(), []beat.Run{{Entry: a, Slot: changedAt, At: changedAt, Count: 1}, {Entry: b, Ended: true}}); err != nil {
			t.Fatal(err)
		}
		if got := r.told("a"); got.count != 1 || !got.lastRun.Valid || !got.changed.Equal(changedAt) {
			t.Errorf("a: %+v", got)
		}
		if got := r.told("b"); got.enabled || !r.hasChanged() {
			t.Errorf("b: %+v", got)
		}
	})
}

// A database without the tables is an error that says what to do.
func TestNoTables(t *testing.T) {
	t.Parallel()
	onEach(t, "SELECT 1", func(t *testing.T, r *rig) {
		_, err := r.Load(t.Context())
		if err == nil || !strings.Contains(err.Error(), "manage.py migrate django_celery_beat") {
			t.Errorf("%v", err)
		}
	})
}

// An entry of Django's DATABASES says in which zone its dates are. What is no database is an error.
func TestDjangosDatabases(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqltest.SQLite, tables)
	entry := r.Django()
	entry["TIME_ZONE"] = "Asia/Tokyo"
	text, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	r.insert("intervalschedule", "id", 1, "every", 90, "period", "minutes")
	r.task(1, "a", "interval_id", 1)
	source, err := New(Config{Django: text})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if entries, err := source.Load(t.Context()); err != nil || len(entries) != 1 || !entries[0].Since.Equal(changedAt.Add(-9*time.Hour)) {
		t.Errorf("%+v, %v", entries, err)
	}
	for _, cfg := range []Config{{}, {URL: "redis://localhost"}, {Django: []byte(`{"ENGINE": "django.db.backends.oracle"}`)}} {
		if source, err := New(cfg); err == nil {
			t.Errorf("%+v is a database: %v", cfg, source)
		}
	}
}
