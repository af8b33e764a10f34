package compat_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestAdminShowsResults: django-celery-results' pages of Django's admin show what tasks in Go have
// stored, with arguments and times, and without an error.
func TestAdminShowsResults(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	results := newResultsDB(t, "django-db in PostgreSQL")
	a := results.app(server)
	a.settings = map[string]any{"result_extended": true}
	startWorker(t, a, "-n", "go@host", "--config", settingsFile(t, map[string]any{"result_extended": true}))
	var ids []string
	a.run(t, &ids, `import json, tapp
from celery import group
results = [tapp.add.delay(1, 2), tapp.fail.delay("nö"), tapp.greet.delay("张伟", mark="?")]
for r in results: r.get(timeout=tapp.PATIENCE, propagate=False)
members = group(tapp.same.s(n) for n in range(2))()
members.get(timeout=tapp.PATIENCE)
members.save()
print(json.dumps([r.id for r in results] + [members.id]))`)
	list, groups := "/admin/django_celery_results/taskresult/", "/admin/django_celery_results/groupresult/"
	pages := []string{list, groups, list + "?status__exact=FAILURE", list + "?q=" + ids[2]}
	for i := range 3 {
		var row int
		if err := results.db.QueryRow("SELECT id FROM django_celery_results_taskresult WHERE task_id = $1", ids[i]).Scan(&row); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, fmt.Sprintf("%s%d/change/", list, row))
	}
	shown := map[string]string{}
	a.run(t, &shown, "sqladmin.py", pages...)
	for page, texts := range map[string][]string{
		list:     {"5 task results", ids[0], "tapp.add", "SUCCESS", "FAILURE", "go@host", "tapp.greet"},
		groups:   {"1 group result", ids[3]},
		pages[2]: {"1 task result", ids[1], "tapp.fail"},
		pages[3]: {"1 task result", ids[2]},
		pages[4]: {ids[0], "tapp.add", "(1, 2)", "application/json", "utf-8", "Completed DateTime"},
		pages[5]: {ids[1], "ValueError", `n\u00f6`, "Traceback: Traceback:"},
		pages[6]: {ids[2], `hi \u5f20\u4f1f?`, "{'mark': '?'}"},
	} {
		for _, text := range texts {
			if !strings.Contains(shown[page], text) {
				t.Errorf("%s does not show %q:\n%s", page, text, shown[page])
			}
		}
	}
}
