package compat_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apium "github.com/apium/apium/app"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/settings"
)

// someOld fills the tables of results with rows of every age and state, with a date and, where there may be such, without.
const someOld = `
import os
from datetime import datetime, timedelta, timezone
from sqlresults import app
if os.environ.get("DATABASE"):
    import django
    django.setup()
    from django_celery_results.models import ChordCounter, GroupResult, TaskResult
    ChordCounter.objects.create(group_id="g", sub_tasks="[]", count=3)
ages = {"hours": 23.9, "day": 24.1, "years": 24 * 800, "ahead": -5}
for state in ("SUCCESS", "FAILURE", "PENDING", "STARTED", "RETRY", "REVOKED"):
    for age in ages:
        app.backend.store_result(f"{state} {age}", ValueError("x") if state in ("FAILURE", "RETRY", "REVOKED") else 1, state)
for age in ages:
    app.GroupResult(f"group {age}", [app.AsyncResult("a")]).save(app.backend)
now = datetime.now(timezone.utc)
for age, hours in ages.items():
    when = now - timedelta(hours=hours)
    if os.environ.get("DATABASE"):
        TaskResult.objects.filter(task_id__endswith=" " + age).update(date_done=when)
        GroupResult.objects.filter(group_id__endswith=" " + age).update(date_done=when)
    else:
        from sqlalchemy import text
        session = app.backend.ResultSession()
        for table, key in (("celery_taskmeta", "task_id"), ("celery_tasksetmeta", "taskset_id")):
            session.execute(text(f"UPDATE {table} SET date_done = :when WHERE {key} LIKE :age"), {"when": when.replace(tzinfo=None), "age": "% " + age})
        session.execute(text("UPDATE celery_taskmeta SET date_done = NULL WHERE task_id = 'PENDING hours'"))
        session.commit()
`

// leftIn are the keys of all rows of results.
func (s sqlResults) leftIn(t *testing.T) (left []string) {
	t.Helper()
	keys := map[string]string{"celery_taskmeta": "task_id", "celery_tasksetmeta": "taskset_id"}
	if s.backend == "django-db" {
		keys = map[string]string{"django_celery_results_taskresult": "task_id", "django_celery_results_groupresult": "group_id", "django_celery_results_chordcounter": "group_id"}
	}
	db := s.db.Open(t)
	for table, key := range keys {
		rows, err := db.Query("SELECT " + key + " FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			left = append(left, strings.TrimPrefix(table, "django_celery_results_")+" "+id)
		}
		rows.Close()
	}
	slices.Sort(left)
	return left
}

// TestCleanupIsCelerys: celery.backend_cleanup deletes what it does in a worker of Celery's, says as much, and has the same
// result, in each database: as a task of Go, and as Celery's own, in a child.
func TestCleanupIsCelerys(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"django-db", "database"} {
		for _, dialect := range []string{sqltest.PostgreSQL, sqltest.MySQL, sqltest.SQLite} {
			t.Run(backend+" "+dialect, func(t *testing.T) {
				t.Parallel()
				server := startRedis(t)
				cleaners := []string{"celery", "children", "go"}
				left, said, result := make([][]string, len(cleaners)), make([][]string, len(cleaners)), make([][]string, len(cleaners))
				for i, kind := range cleaners {
					s := newSQLResults(t, "", backend, sqltest.New(t, dialect), server.url(i), nil)
					s.run(t, nil, someOld)
					all := len(s.leftIn(t))
					w := s.cleaner(t, kind)
					s.run(t, &result[i], `
import json, os
from sqlresults import app
if os.environ.get("DATABASE"):
    import django
    django.setup()
done = app.send_task("celery.backend_cleanup", task_id="cleanup")
done.get(timeout=100)
print(json.dumps([done.state, repr(done.result)]))`)
					w.waitLog(t, "celery.backend_cleanup[cleanup] succeeded")
					if left[i] = s.leftIn(t); len(left[i]) >= all {
						t.Errorf("%s: of %d rows %d are left", kind, all, len(left[i]))
					}
					for line := range strings.Lines(w.log.String()) {
						if strings.Contains(line, "cleanup") {
							_, message, _ := strings.Cut(line, "] ")
							said[i] = append(said[i], logRuntime.ReplaceAllString(message, "succeeded in N s"))
						}
					}
				}
				for what, of := range map[string][][]string{"rows": left, "log": said, "result": result} {
					for i, kind := range cleaners {
						if diff := cmp.Diff(of[0], of[i]); diff != "" {
							t.Errorf("%s (-celery +%s):\n%s", what, kind, diff)
						}
					}
				}
			})
		}
	}
}

// cleaner starts a worker: Celery's, ours with children, or one in Go.
func (s sqlResults) cleaner(t *testing.T, kind string) *process {
	t.Helper()
	switch kind {
	case "children":
		return s.startChildren(t, "-n", "w@h")
	case "go":
		if s.ours = "db+" + s.db.URL(); s.backend == "django-db" {
			s.ours = "django-" + s.ours
		}
		return startWorker(t, s.app, "-n", "w@h")
	}
	w := start(t, "celery worker", appDir, s.env(t), s.python(), "-m", "celery", "-A", "sqlresults", "worker", "-c", "1", "-n", "w@h", "-l", "info",
		"--without-gossip", "--without-mingle", "--without-heartbeat")
	w.waitLog(t, "ready.")
	return w
}

// TestCleanupEntry: the entry that a beat adds for celery.backend_cleanup by itself is that of Celery's, for each of its
// schedulers; but Celery's adds it also where nothing is to be cleaned up. The row that Celery's has written does not make two of it.
func TestCleanupEntry(t *testing.T) {
	t.Parallel()
	site := newPeriodicSite(t, sqltest.SQLite, "SCRATCH="+t.TempDir())
	type given struct {
		Backend string
		Expires any
	}
	type entry struct {
		Task, Schedule string
		Expires        int // in seconds
	}
	cases := []struct {
		given
		celery, tables, ours bool // add it
	}{
		{given{"db+sqlite:////tmp/results", 3600}, true, true, true},
		{given{"db+sqlite:////tmp/results", nil}, false, false, false},
		{given{"db+sqlite:////tmp/results", 0}, false, false, false},
		{given{"rpc://", 3600}, false, true, false},
		{given{"disabled://", 3600}, true, true, false},
		{given{site.broker, 3600}, false, true, false},
	}
	var asked []given
	for _, c := range cases {
		asked = append(asked, c.given)
	}
	var found [][2]*entry // by the scheduler with a file, and the one with Django's tables
	out := pythonIn(t, djangoBeatDir, site.app, "-c", `
import json, os, sys, tempfile
import proj, django
django.setup()
from celery import Celery
from celery.beat import PersistentScheduler
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler
found = []
for given in json.loads(sys.argv[1]):
    app = Celery(broker=proj.celery_app.conf.broker_url, backend=given["Backend"])
    app.conf.result_expires = given["Expires"]
    PeriodicTask.objects.all().delete()
    both = []
    file = os.path.join(tempfile.mkdtemp(dir=os.environ["SCRATCH"]), "schedule")
    for scheduler in PersistentScheduler(app=app, schedule_filename=file), DatabaseScheduler(app=app):
        e = scheduler.schedule.get("celery.backend_cleanup")
        expires = e and (e.model.expire_seconds if hasattr(e, "model") else e.options["expires"])
        both.append(e and {"Task": e.task, "Schedule": " ".join(str(e.schedule).partition("(")[0].split()), "Expires": expires})
    found.append(both)
print(json.dumps(found))`, toJSON(t, asked))
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for i, c := range cases {
		conf := settings.Default()
		conf.ResultBackend = c.Backend
		if seconds, ok := c.Expires.(int); ok {
			conf.ResultExpires = time.Duration(seconds) * time.Second
		} else {
			conf.ResultExpires = 0
		}
		ours := apium.BeatSchedule(conf).Entries()
		if celery, tables := found[i][0] != nil, found[i][1] != nil; celery != c.celery || tables != c.tables || len(ours) > 0 != c.ours {
			t.Errorf("%+v: Celery's adds it: %v, into tables: %v; ours: %v", c.given, celery, tables, len(ours) > 0)
		}
		if len(ours) == 0 {
			continue
		}
		var options struct{ Expires int }
		if err := json.Unmarshal(ours[0].Options, &options); err != nil {
			t.Fatal(err)
		}
		due, _, _ := strings.Cut(ours[0].Schedule.String(), " (")
		got := entry{ours[0].Task, due, options.Expires}
		for _, want := range found[i] {
			if diff := cmp.Diff(want, &got); diff != "" {
				t.Errorf("%+v (-celery +apium):\n%s", c.given, diff)
			}
		}
		for _, rows := range []int{1, 0} { // with the row that Celery's scheduler has written, and without
			entries, err := tablesIn(site.db, conf)(t).Load(t.Context())
			if err != nil || len(entries) != 1 || entries[0].Task != got.Task {
				t.Errorf("%+v, %d rows: %d entries, %v", c.given, rows, len(entries), err)
			}
			site.db.Exec(t, "DELETE FROM django_celery_beat_periodictask")
		}
	}
}
