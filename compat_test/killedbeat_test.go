package compat_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/settings"
)

// TestCelerysBeatKilled: what Celery's beat has sent since it last saved, up to three minutes, it sends again after SIGKILL,
// whether it saves to its file or to Django's tables. Ours does not.
func TestCelerysBeatKilled(t *testing.T) {
	t.Parallel()
	until := newSpan(t, [3]string{"UTC", "2026-10-20T10:00:30Z", "2026-10-20T10:02:02Z"})
	after := newSpan(t, [3]string{"UTC", "2026-10-20T10:02:05Z", "2026-10-20T10:02:50Z"})
	twice := func(t *testing.T, server *redisServer) {
		t.Helper()
		minutes := map[string]int{}
		for _, m := range server.beatMessages(t, "celery")["minute"] {
			minutes[m.sent.UTC().Format("15:04")]++
		}
		if minutes["10:01"] != 1 || minutes["10:02"] != 2 {
			t.Errorf("Celery's beat has sent %v: is the defect gone that docs/periodic.md names?", minutes)
		}
	}
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		server, file := startRedis(t), filepath.Join(t.TempDir(), "schedule")
		a := app{broker: server.url(0), variables: []string{"ONLY=minute", "CLOCK_KILLS=1"}}
		until.celerys(t, appDir, "moved", a, "-s", file)
		after.celerys(t, appDir, "moved", a, "-s", file)
		twice(t, server)
	})
	t.Run("django", func(t *testing.T) {
		t.Parallel()
		site := until.movedSite(t, []fields{{"name": "minute", "task": "minute", "crontab": []any{"* * * * *", "UTC"}, "expire_seconds": int(runLasts.Seconds())}}, "CLOCK_KILLS=1")
		until.celerys(t, djangoBeatDir, "proj", site.app, "-S", "django")
		after.celerys(t, djangoBeatDir, "proj", site.app, "-S", "django")
		twice(t, site.server)
	})
	for name, scheduler := range map[string]string{"ours": "celery.beat:PersistentScheduler", "ours, django": "django"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newPeriodicSite(t, sqltest.SQLite, `BEAT_SCHEDULE={"often": {"task": "often", "schedule": 0.7}}`)
			once := []string{} // as it is next due in an hour
			if scheduler == "django" {
				once = append(once, "due")
				s.do(step{"create", []fields{{"name": "due", "task": "due", "interval": []any{1, "hours"}, "last_run_at_in": -7200}}})
			}
			run := func(n int) *process {
				p := start(t, "apium beat", djangoBeatDir, s.env(t), apiumBinary, "-A", "proj", "--python", s.python(), "beat", "-S", scheduler)
				s.waitSent(n, "often")
				s.waitSent(1, once...)
				return p
			}
			run(2).kill()
			n := len(s.sent()["often"])
			s.stop(run(n + 3))
			seen := map[string]bool{}
			for _, name := range once {
				if n := len(s.sent()[name]); n != 1 {
					t.Errorf("%s was sent %d times", name, n)
				}
			}
			for _, m := range s.sent()["often"] {
				if seen[m.id] { // which is made of the slot
					t.Errorf("%s was sent twice", m.id)
				}
				seen[m.id] = true
			}
		})
	}
}

// TestCelerysBeatLosesEdits: of a row that somebody edits while Celery's beat saves its runs, that saves all columns, as it has read
// them. Ours writes only what tells of runs.
func TestCelerysBeatLosesEdits(t *testing.T) {
	t.Parallel()
	site := newPeriodicSite(t, sqltest.SQLite)
	site.do(step{"create", []fields{{"name": "edited", "task": "t", "interval": []any{1, "hours"}}}})
	pythonIn(t, djangoBeatDir, site.app, "-c", `
import proj, django
django.setup()
from django.db.models.signals import pre_save
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry
pre_save.connect(lambda **_: PeriodicTask.objects.update(args="[1]"), sender=PeriodicTask, weak=False)
next(ModelEntry(PeriodicTask.objects.get(), app=proj.celery_app)).save()`)
	if row := runsIn(t, site.db)["edited"]; row.Args != "[]" || row.TotalRunCount != 1 {
		t.Errorf("Celery's beat leaves %+v: is the defect gone that docs/periodic.md names?", row)
	}
	source := tablesIn(site.db, settings.Default())(t)
	entries, err := source.Load(t.Context())
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	site.db.Exec(t, "UPDATE django_celery_beat_periodictask SET args = '[2]'")
	if err := source.Ran(t.Context(), []beat.Run{{Entry: entries[0], Slot: time.Now(), At: time.Now(), Count: 2}}); err != nil {
		t.Fatal(err)
	}
	if row := runsIn(t, site.db)["edited"]; row.Args != "[2]" || row.TotalRunCount != 2 {
		t.Errorf("ours leaves %+v", row)
	}
}
