package compat_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/sqltest"
)

// startAdmin serves a Django project, and has the steps begin with logging in.
func startAdmin(t *testing.T, dir string, env []string, python, user, password string) (url string, s steps) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	start(t, "django", dir, env, python, "-m", "django", "runserver", "--noreload", address).waitLog(t, "Quit the server with")
	url = "http://" + address + "/admin/"
	s.add("goto", url+"login/?next=/admin/")
	s.add("type", [2]string{"#id_username", user})
	s.add("type", [2]string{"#id_password", password})
	s.add("click", "[type=submit]")
	s.wait("Site administration")
	return url, s
}

// shownDate is a date as Django's admin shows it.
var shownDate = regexp.MustCompile(`([A-Z][a-z]{2})[a-z]*\.? (\d+), (\d{4}), (?:(\d+)(?::(\d\d))? ([ap])\.m\.|(noon|midnight))`)

// readDates returns a text without its dates, and the dates.
func readDates(t *testing.T, text, zone string) (without string, dates []time.Time) {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range shownDate.FindAllStringSubmatch(text, -1) {
		hour, minute, half := m[4], m[5], m[6]
		switch m[7] {
		case "noon":
			hour, half = "12", "p"
		case "midnight":
			hour, half = "12", "a"
		}
		if minute == "" {
			minute = "00"
		}
		date, err := time.ParseInLocation("Jan 2 2006 3:04pm", fmt.Sprintf("%s %s %s %s:%s%sm", m[1], m[2], m[3], hour, minute, half), location)
		if err != nil {
			t.Fatal(err)
		}
		dates = append(dates, date)
	}
	return shownDate.ReplaceAllString(text, "DATE"), dates
}

var shownTraceback = regexp.MustCompile(`(?s)Traceback:\nTraceback.*\nText of the traceback`)

// sendToAll sends the same tasks to each worker's queue.
const sendToAll = `import json, sys, tapp
results = []
for who in sys.argv[1:]:
    for name, task, args, kwargs in [
        ("add", tapp.add, (1, 2), {}), ("fail", tapp.fail, ("nö",), {}), ("greet", tapp.greet, ("张伟",), {"mark": "?"}),
    ]:
        results.append(task.apply_async(args, kwargs, task_id=who + "-" + name, queue=who, headers={"periodic_task_name": "every-" + name}))
for r in results: r.get(timeout=tapp.PATIENCE, propagate=False)
print(json.dumps(len(results)))`

// TestResultAdminPages looks at the pages of django-celery-results' admin in a browser. Of tasks in Go and in
// children they show what they show of those that Celery's worker has run in the same database: lists, filters, each task.
func TestResultAdminPages(t *testing.T) {
	t.Parallel()
	program, found := browserProgram()
	if !found {
		t.Log("no chromium on the PATH: the pages were not looked at")
		return
	}
	who := []string{"celerys", "gophers", "forked"}
	tasks := []string{"add", "fail", "greet"}
	began := time.Now().Truncate(time.Minute)
	results := newResultsDB(t, "django-db in PostgreSQL")
	a := results.app(startRedis(t))
	a.settings = map[string]any{"result_extended": true, "task_track_started": true, "worker_hijack_root_logger": false}
	startWorker(t, a, "-n", "w@gophers", "-Q", "gophers", "--config", settingsFile(t, map[string]any{"result_extended": true, "task_track_started": true}))
	a.startWorker(t, "-n", "w@celerys", "-Q", "celerys")
	a.startChildren(t, "-n", "w@forked", "-Q", "forked")
	a.run(t, nil, sendToAll, who...)
	a.run(t, nil, "sqladmin.py") // makes the user

	url, s := startAdmin(t, appDir, a.env(t), a.python(), "root", "secret")
	list := url + "django_celery_results/taskresult/"
	s.add("goto", list)
	s.wait("9 task results")
	s.add("text", "#changelist-filter")
	s.add("shot", "results")
	for _, filter := range []struct {
		link string
		n    int
	}{{"task_name=tapp.add", 3}, {"status=FAILURE", 3}, {"status=SUCCESS", 6}, {"periodic_task_name=every-greet", 3}, {"worker=w%40gophers", 3}} {
		s.add("goto", list)
		s.add("click", `#changelist-filter a[href*="`+filter.link+`"]`)
		s.wait(fmt.Sprintf("%d results (9 total)", filter.n))
	}
	s.add("shot", "results-of-go")
	for _, who := range who {
		s.add("goto", list+"?worker=w%40"+who)
		s.wait("3 results (9 total)")
		s.add("text", "#result_list tbody")
		for _, task := range tasks {
			s.add("goto", list+"?q="+who+"-"+task)
			s.wait("1 result (9 total)")
			s.add("click", "#result_list tbody th a")
			s.wait("Started DateTime")
			s.add("text", "#content")
			s.add("shot", who+"-"+task)
		}
	}
	seen := drive(t, program, s)

	filters, pages := seen[0], seen[1:]
	for _, text := range []string{"FAILURE", "SUCCESS", "every-add", "every-greet", "tapp.add", "tapp.fail", "w@celerys", "w@gophers", "w@forked"} {
		if !strings.Contains(filters, text) {
			t.Errorf("the filters do not offer %q:\n%s", text, filters)
		}
	}
	each := 1 + len(tasks)
	alike := func(who string, page int, text string) string {
		text, dates := readDates(t, strings.ReplaceAll(text, who, "who"), "America/Chicago")
		for _, date := range dates {
			if date.Before(began) || date.After(time.Now()) {
				t.Errorf("%s: it shows %v, and it is %v:\n%s", who, date, time.Now(), text)
			}
		}
		lines := strings.Split(varies.ReplaceAllString(text, "#"), "\n")
		if page == 0 { // the list, in the order in which tasks ended
			slices.Sort(lines)
		}
		return strings.Join(lines, "\n")
	}
	for i, name := range who[1:] {
		for page := range each {
			want, got := alike(who[0], page, pages[page]), alike(name, page, pages[(i+1)*each+page])
			if name == "gophers" { // it is Go's there
				want, got = shownTraceback.ReplaceAllString(want, "A traceback"), shownTraceback.ReplaceAllString(got, "A traceback")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, page %d (-Celery +Apium):\n%s", name, page, diff)
			}
		}
	}
}

// TestBeatAdminPages looks at django-celery-beat's admin in a browser while our beat runs: it shows when tasks ran last, and
// what is chosen there is done.
func TestBeatAdminPages(t *testing.T) {
	t.Parallel()
	program, found := browserProgram()
	if !found {
		t.Log("no chromium on the PATH: the pages were not looked at")
		return
	}
	began := time.Now().Truncate(time.Minute)
	s := newPeriodicSite(t, sqltest.PostgreSQL)
	second := []any{1, "seconds"}
	s.do(step{"create", []fields{
		{"name": "plain", "task": "t.plain", "interval": second},
		{"name": "once", "task": "t.once", "interval": second, "one_off": true},
		{"name": "never", "task": "t.never", "interval": second, "enabled": false},
	}})
	s.apiumBeat()
	s.waitSent(3, "plain")
	s.waitDisabled("once")
	eventually(t, patience, "the row tells of the runs", func() bool { return s.rows()["plain"].TotalRunCount >= 3 })
	env := append(s.env(t), "DJANGO_SETTINGS_MODULE=proj.settings")
	url, pages := startAdmin(t, djangoBeatDir, env, s.python(), "admin", "admin")
	list := url + "django_celery_beat/periodictask/"
	row := func(name string) int {
		var id int
		if err := s.db.Open(t).QueryRow("SELECT id FROM django_celery_beat_periodictask WHERE name = '" + name + "'").Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	pages.add("goto", list)
	pages.wait("3 periodic tasks")
	pages.add("shot", "periodic-tasks")
	for _, name := range []string{"plain", "once", "never"} {
		pages.add("text", "#result_list tr:has(input[value='"+strconv.Itoa(row(name))+"'])")
	}
	pages.add("goto", list+strconv.Itoa(row("plain"))+"/change/")
	pages.wait("Last Run Datetime")
	pages.add("text", ".field-last_run_at")
	pages.add("shot", "periodic-task")
	pages.add("goto", list)
	pages.add("click", "#result_list input[value='"+strconv.Itoa(row("plain"))+"']")
	pages.add("type", [2]string{"select[name=action]", "disable_tasks"})
	pages.add("click", ".actions [type=submit]")
	pages.wait("1 task was successfully disabled")
	pages.add("shot", "periodic-task-disabled")
	seen := drive(t, program, pages)
	for i, want := range []int{1, 0, 0, 1} { // one that is disabled has none, as Django's model has it
		_, dates := readDates(t, seen[i], "Asia/Shanghai")
		if len(dates) != want || want == 1 && (dates[0].Before(began) || dates[0].After(time.Now())) {
			t.Errorf("%q shows the dates %v", seen[i], dates)
		}
	}
	s.do(step{"edit", []fields{{"name": "never", "enabled": true}}})
	s.waitSent(1, "never") // so that the change before is known, too
	n := len(s.sent()["plain"])
	s.waitSent(3, "never")
	if after := len(s.sent()["plain"]); after != n {
		t.Errorf("it was disabled in the admin, and sent %d times since", after-n)
	}
	if _, err := os.Stat(filepath.Join(t.ArtifactDir(), "periodic-task.png")); err != nil {
		t.Error(err)
	}
}
