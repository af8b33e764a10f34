package compat_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/apium/apium/internal/sqltest"
)

const djangoBeatDir = "testdata/djangobeat"

// periodicSite is a Django project with django-celery-beat, and where its beats send.
type periodicSite struct {
	app
	t      *testing.T
	server *redisServer
	db     *sqltest.Database
	steps  *stepper // nil until there is something to do
}

// step is one of steps.py, and its argument.
type step [2]any

type fields = map[string]any

// newPeriodicSite makes a project whose database has no periodic tasks yet.
func newPeriodicSite(t *testing.T, dialect string, variables ...string) *periodicSite {
	t.Helper()
	s := &periodicSite{t: t, server: startRedis(t), db: migrated(t, dialect)}
	s.app = app{broker: s.server.url(0), variables: append(variables, databaseVariable(t, s.db))}
	return s
}

// databaseVariable tells the project of its database.
func databaseVariable(t *testing.T, db *sqltest.Database) string {
	t.Helper()
	entry, err := json.Marshal(db.Django())
	if err != nil {
		t.Fatal(err)
	}
	return "DATABASE=" + string(entry)
}

// migrations are databases with the project's tables.
var migrations = map[string]*migration{sqltest.SQLite: {}, sqltest.PostgreSQL: {}, sqltest.MySQL: {}}

type migration struct {
	mu sync.Mutex
	db *sqltest.Database // nil until it is made
}

// migrated returns a database with the project's tables, which Django makes once for each dialect.
func migrated(t *testing.T, dialect string) *sqltest.Database {
	t.Helper()
	m := migrations[dialect]
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.db == nil {
		db := &sqltest.Database{Dialect: dialect, Name: filepath.Join(filepath.Dir(apiumBinary), "migrated.sqlite3")}
		if dialect != sqltest.SQLite { // the others outlive the test anyway
			db = sqltest.New(t, dialect)
		}
		steps := startSteps(t, app{broker: "memory://", variables: []string{databaseVariable(t, db)}})
		steps.do(t, step{"migrate", nil})
		steps.end()
		m.db = db
	}
	return m.db.Copy(t)
}

// do does steps and returns what each of them tells.
func (s *periodicSite) do(steps ...step) []json.RawMessage {
	s.t.Helper()
	if s.steps == nil {
		s.steps = startSteps(s.t, s.app)
	}
	return s.steps.do(s.t, steps...)
}

// stepper is a running steps.py.
type stepper struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer // to be read after its end
	ended  bool
}

func startSteps(t *testing.T, a app) *stepper {
	t.Helper()
	s := &stepper{cmd: exec.Command(a.python(), "steps.py")}
	s.cmd.Dir, s.cmd.Stderr = djangoBeatDir, &s.stderr
	s.cmd.Env = append(os.Environ(), a.env(t)...)
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(stdout)
	t.Cleanup(s.end)
	return s
}

func (s *stepper) do(t *testing.T, steps ...step) []json.RawMessage {
	t.Helper()
	if err := json.NewEncoder(s.in).Encode(steps); err != nil {
		t.Fatal(err)
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		s.end()
		t.Fatalf("steps.py: %v\n%s", err, tail(s.stderr.String(), 4000))
	}
	var answers []json.RawMessage
	if err := json.Unmarshal(line, &answers); err != nil || len(answers) != len(steps) {
		t.Fatalf("steps.py printed %s: %v", line, err)
	}
	return answers
}

// end waits until the program has ended, which it does when there is nothing more to do.
func (s *stepper) end() {
	if s.ended {
		return
	}
	s.ended = true
	_ = s.in.Close() // it may have ended by itself
	_ = s.cmd.Wait() // and what was wrong is told by its standard error
}

// periodicRow is what a row tells of runs.
type periodicRow struct {
	Enabled       bool     `json:"enabled"`
	LastRunAt     *float64 `json:"last_run_at"` // seconds from now
	TotalRunCount int      `json:"total_run_count"`
	DateChanged   string   `json:"date_changed"`
	Args          string   `json:"args"`
}

func (s *periodicSite) rows() (rows map[string]periodicRow) {
	s.t.Helper()
	if err := json.Unmarshal(s.do(step{"rows", nil})[0], &rows); err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// celeryBeat starts Python's.
func (s *periodicSite) celeryBeat() *process {
	s.t.Helper()
	p := start(s.t, "celery beat", djangoBeatDir, s.env(s.t), s.python(), "-m", "celery", "-A", "proj", "beat", "-S", "django", "-l", "debug", "--max-interval", "1")
	p.waitLog(s.t, "beat: Waking up")
	return p
}

// apiumBeat starts ours, and waits until it sends.
func (s *periodicSite) apiumBeat() *process {
	s.t.Helper()
	p := s.startBeat()
	p.waitLog(s.t, "sends schedule")
	return p
}

func (s *periodicSite) startBeat() *process {
	s.t.Helper()
	return start(s.t, "apium beat", djangoBeatDir, s.env(s.t), apiumBinary, "-A", "proj", "--python", s.python(), "beat", "-S", "django", "-l", "debug")
}

// sent returns what was sent so far.
func (s *periodicSite) sent() map[string][]beatMessage {
	s.t.Helper()
	return s.server.beatMessages(s.t, "celery", "q", "q\x06\x166")
}

// waitSent waits until entries have been sent so often.
func (s *periodicSite) waitSent(n int, names ...string) {
	s.t.Helper()
	for _, name := range names {
		eventually(s.t, patience, name+" was sent", func() bool { return len(s.sent()[name]) >= n })
	}
}

// waitDisabled waits until rows are disabled.
func (s *periodicSite) waitDisabled(names ...string) {
	s.t.Helper()
	db := s.db.Open(s.t)
	for _, name := range names {
		eventually(s.t, patience, name+" is disabled", func() bool {
			var enabled bool
			err := db.QueryRow("SELECT enabled FROM django_celery_beat_periodictask WHERE name = '" + name + "'").Scan(&enabled)
			return err == nil && !enabled
		})
	}
}

// stop ends a beat, which writes what rows are to tell.
func (s *periodicSite) stop(p *process) {
	s.t.Helper()
	endBeat(s.t, p)
}

// beaten is what became of the periodic tasks.
type beaten struct {
	Messages map[string]beatMessage // the first of each
	Rows     map[string]periodicRow
}

// live has a beat run while people create, change, disable and delete periodic tasks, and returns what it has
// sent and what the rows say.
func (s *periodicSite) live(start func(s *periodicSite) *process) beaten {
	s.t.Helper()
	second := []any{1, "seconds"}
	s.do(step{"create", []fields{
		{"name": "plain", "task": "t.plain", "interval": second, "args": `[1, "ä"]`, "kwargs": `{"a": null, "b": 2.0}`},
		{"name": "options", "task": "t.options", "interval": second, "queue": "q", "priority": 6, "headers": `{"h": 1}`, "expire_seconds": int(runLasts.Seconds())},
		{"name": "routed", "task": "t.routed", "interval": second, "exchange": "", "routing_key": "celery"},
		{"name": "late crontab", "task": "t.cron", "crontab": []any{"* * * * *", "Europe/Berlin"}, "last_run_at_in": -300},
		{"name": "far crontab", "task": "t.far", "crontab": []any{"0 4 1 1 *", "Europe/Berlin"}},
		{"name": "once", "task": "t.once", "interval": second, "one_off": true},
		{"name": "clocked", "task": "t.clocked", "clocked_in": 2, "one_off": true},
		{"name": "clocked before", "task": "t.before", "clocked_in": -3600, "one_off": true},
		{"name": "expired", "task": "t.expired", "interval": second, "expires_in": -10},
		{"name": "expiring", "task": "t.expiring", "interval": second},
		{"name": "starting", "task": "t.starting", "interval": []any{1, "hours"}, "start_time_in": 3},
		{"name": "to come", "task": "t.tocome", "interval": second, "start_time_in": 3600},
		{"name": "off", "task": "t.off", "interval": second, "enabled": false},
	}})
	beat := start(s)
	s.waitSent(2, "plain", "options", "routed")
	s.waitSent(1, "late crontab", "once", "clocked", "clocked before", "starting", "expiring")
	s.do(step{"edit", []fields{{"name": "expiring", "expires_in": 1}}})
	s.waitDisabled("once", "clocked", "clocked before")
	s.do(step{"admin_action", []any{"enable_tasks", []string{"once", "clocked"}}})
	s.waitSent(2, "once", "clocked")
	s.do(
		step{"admin_add", fields{"name": "by form", "task": "t.form", "interval": second, "kwargs": `{"a": "<b>"}`}},
		step{"edit", []fields{{"name": "plain", "args": "[2]"}}},
		step{"admin_change", fields{"name": "routed", "enabled": nil}},
		step{"admin_delete", "to come"},
		step{"delete", []string{"options"}},
		step{"create", []fields{{"name": "last", "task": "t.last", "interval": second}}},
	)
	s.waitSent(2, "by form")
	s.waitSent(1, "last") // so all that came before is known
	eventually(s.t, patience, "the change of plain is seen", func() bool {
		messages := s.sent()["plain"]
		return strings.HasPrefix(messages[len(messages)-1].Body, "[[2]")
	})
	s.waitDisabled("once", "clocked", "clocked before", "expired", "expiring")
	if beat.name == "celery beat" { // which loses an edit if it saves its runs meanwhile, with all columns of the row
		eventually(s.t, patience, "routed stays disabled", func() bool {
			s.do(step{"admin_change", fields{"name": "routed", "enabled": nil}})
			return !s.rows()["routed"].Enabled
		})
		s.waitSent(len(s.sent()["last"])+2, "last") // so it is known
	}
	stopped := len(s.sent()["routed"]) + len(s.sent()["options"])
	s.waitSent(len(s.sent()["plain"])+2, "plain")
	if n := len(s.sent()["routed"]) + len(s.sent()["options"]); n != stopped {
		s.t.Errorf("what was disabled and deleted was sent %d times more", n-stopped)
	}
	s.stop(beat)
	return s.outcome(beat)
}

// outcome says what became of the periodic tasks.
func (s *periodicSite) outcome(beat *process) beaten {
	s.t.Helper()
	o := beaten{Messages: map[string]beatMessage{}, Rows: s.rows()}
	sent := s.sent()
	for name, messages := range sent {
		o.Messages[name] = messages[0]
	}
	for name, row := range o.Rows {
		n := len(sent[name])
		if beat.name == "celery beat" && row.TotalRunCount == n+1 { // it counts before it sends, and SIGTERM may find it between
			n++
		}
		if name == "plain" && row.TotalRunCount == n-1 { // who edits a row saves all of it, also the count that he read
			n--
		}
		if row.Enabled && row.TotalRunCount != n {
			s.t.Errorf("%s was sent %d times, and its row says %d", name, n, row.TotalRunCount)
		}
		if ran := row.LastRunAt != nil; ran != (row.TotalRunCount > 0 && row.Enabled) {
			s.t.Errorf("%s: %+v", name, row)
		}
		row.TotalRunCount, row.LastRunAt = 0, nil
		o.Rows[name] = row
	}
	for name, want := range map[string]int{"once": 2, "clocked": 2, "clocked before": 1, "starting": 1} {
		if n := len(sent[name]); n != want {
			s.t.Errorf("%s was sent %d times, want %d", name, n, want)
		}
	}
	return o
}

// TestDjangoBeat: while people use the ORM and the admin's forms, our beat sends what Celery's would, and rows
// say what they would say with it. Of Celery's, one database is enough.
func TestDjangoBeat(t *testing.T) {
	t.Parallel()
	var celery beaten
	done := make(chan struct{})
	t.Run("celery", func(t *testing.T) {
		t.Parallel()
		defer close(done)
		s := newPeriodicSite(t, sqltest.SQLite)
		celery = s.live((*periodicSite).celeryBeat)
	})
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newPeriodicSite(t, dialect)
			ours := s.live((*periodicSite).apiumBeat)
			<-done
			if celery.Rows == nil {
				t.Fatal("there is nothing to compare with")
			}
			// Python's beat adds a row for itself; it touches the others whenever it writes.
			delete(celery.Rows, "celery.backend_cleanup")
			ignore := cmp.Options{cmpopts.IgnoreUnexported(beatMessage{}), cmpopts.IgnoreFields(periodicRow{}, "DateChanged")}
			if diff := cmp.Diff(celery, ours, ignore); diff != "" {
				t.Errorf("(-celery +apium):\n%s", diff)
			}
		})
	}
}

// TestDjangoBeatsTogether: of two beats on one database nothing is sent twice, also when one-offs are switched off,
// and when the one that sends is killed. What Celery's scheduler loses of beat_schedule when it writes that into the
// database, fractions of seconds and options, is not lost.
func TestDjangoBeatsTogether(t *testing.T) {
	t.Parallel()
	schedule := fmt.Sprintf(`{
		"half": {"task": "t.half", "schedule": 0.5, "options": {"expires": %d, "countdown": 1, "queue": "q"}},
		"named": {"task": "t.named", "schedule": 3600, "args": [1]}, "disabled": {"task": "t.disabled", "schedule": 1}
	}`, int(runLasts.Seconds()))
	s := newPeriodicSite(t, sqltest.PostgreSQL, "BEAT_SCHEDULE="+schedule)
	tasks := []fields{
		{"name": "named", "task": "t.other", "interval": []any{1, "days"}, "args": "[2]", "last_run_at_in": -5000},
		{"name": "disabled", "task": "t.disabled", "interval": []any{1, "seconds"}, "enabled": false},
	}
	var often, once []string
	for i := range 12 {
		if i < 5 {
			often = append(often, fmt.Sprint("often", i))
			tasks = append(tasks, fields{"name": often[i], "task": "t.often", "interval": []any{1, "seconds"}})
		}
		once = append(once, fmt.Sprint("once", i))
		tasks = append(tasks, fields{"name": once[i], "task": "t.once", "clocked_in": i, "one_off": true})
	}
	s.do(step{"create", tasks})
	first := s.apiumBeat()
	second := s.startBeat()
	second.waitLog(t, "this beat stands by")
	s.waitSent(3, append(often, "half")...)
	first.kill()
	second.waitLog(t, "sends schedule")
	before := s.sent()
	for _, name := range often {
		s.waitSent(len(before[name])+2, name)
	}
	s.waitDisabled(once...)
	s.stop(second)

	sent := s.sent()
	seen := map[string]bool{}
	for name, messages := range sent {
		for _, m := range messages {
			if seen[m.id] {
				t.Errorf("%s was sent twice for the same slot: %s", name, m.id)
			}
			seen[m.id] = true
		}
	}
	for _, name := range append(once, "named") {
		if n := len(sent[name]); n != 1 {
			t.Errorf("%s was sent %d times", name, n)
		}
	}
	if m := sent["named"][0]; m.Headers["task"] != "t.named" || !strings.HasPrefix(m.Body, "[[1]") {
		t.Errorf("the row counts, and not beat_schedule: %+v", m)
	}
	if m := sent["half"][0]; m.Queue != "q" || m.Headers["eta"] == nil || m.Headers["expires"] == nil {
		t.Errorf("options of beat_schedule are lost: %+v", m)
	}
	if n := len(sent["disabled"]); n != 0 {
		t.Errorf("what is disabled in the database was sent %d times", n)
	}
	for name, row := range s.rows() {
		if n := len(sent[name]); row.Enabled && row.TotalRunCount != n {
			t.Errorf("%s was sent %d times, and its row says %d", name, n, row.TotalRunCount)
		}
	}
}

// TestDjangoBeatWithoutZones: without USE_TZ, dates are read and written as Celery's beat has them, which takes
// over from ours and the other way round.
func TestDjangoBeatWithoutZones(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.SQLite, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newPeriodicSite(t, dialect, "USE_TZ=0")
			hour := []any{1, "hours"}
			s.do(step{"create", []fields{
				{"name": "due", "task": "t.due", "interval": hour, "last_run_at_in": -7200},
				{"name": "new", "task": "t.new", "interval": hour},
				{"name": "clocked", "task": "t.clocked", "clocked_in": 3, "one_off": true},
			}})
			beat := s.apiumBeat()
			s.waitSent(1, "due", "clocked")
			s.waitDisabled("clocked")
			s.stop(beat)
			celery := s.celeryBeat() // which knows that it has just run
			s.do(step{"edit", []fields{{"name": "due", "args": "[2]"}}})
			celery.waitLog(t, "Schedule changed")
			s.stop(celery)
			if sent := s.sent(); len(sent["due"]) != 1 || len(sent["new"]) != 0 || len(sent["clocked"]) != 1 {
				t.Errorf("due was sent %d times, new %d, clocked %d", len(sent["due"]), len(sent["new"]), len(sent["clocked"]))
			}
		})
	}
}

// TestDjangoBeatEdited: what people change in the admin's forms while our beat runs is seen: schedules themselves, which of them a
// task has, whether it is enabled, and that it is to run once; and apium beat list shows it.
func TestDjangoBeatEdited(t *testing.T) {
	t.Parallel()
	s := newPeriodicSite(t, sqltest.PostgreSQL)
	hour, second, never := []any{1, "hours"}, []any{1, "seconds"}, []any{"0 4 1 1 *", "UTC"}
	s.do(step{"create", []fields{
		{"name": "slow", "task": "t.slow", "interval": hour},
		{"name": "off", "task": "t.off", "interval": second, "enabled": false},
		{"name": "crontab", "task": "t.crontab", "crontab": never},
		{"name": "other", "task": "t.other", "crontab": never},
		{"name": "once", "task": "t.once", "interval": second},
		{"name": "gone", "task": "t.gone", "interval": second},
	}})
	beat := s.apiumBeat()
	s.waitSent(2, "once", "gone")
	s.do(
		step{"admin_reschedule", fields{"name": "slow", "every": 2, "period": "seconds"}},
		step{"admin_reschedule", fields{"name": "crontab", "month_of_year": "2", "day_of_month": "3", "timezone": "Asia/Tokyo"}},
		step{"admin_change", fields{"name": "off", "enabled": "on"}},
		step{"admin_change", fields{"name": "other", "crontab": nil, "interval": second}},
		step{"admin_change", fields{"name": "once", "one_off": "on"}},
		step{"admin_delete", "gone"},
		step{"admin_add", fields{"name": "clocked", "task": "t.clocked", "clocked_in": 2, "one_off": "on"}},
		step{"admin_add", fields{"name": "clocked later", "task": "t.later", "clocked_in": 86400, "one_off": "on"}},
	)
	s.waitSent(2, "slow", "off", "other")
	s.waitSent(1, "clocked")
	s.waitDisabled("once", "clocked")
	ended := len(s.sent()["once"]) + len(s.sent()["gone"])
	s.waitSent(len(s.sent()["slow"])+2, "slow")
	if n := len(s.sent()["once"]) + len(s.sent()["gone"]); n != ended {
		t.Errorf("what is over was sent %d times more", n-ended)
	}
	listed := s.list()
	if e := listed["crontab"]; e.Next == nil || e.Next.UTC().Format(time.DateTime)[4:] != "-02-02 19:00:00" || e.Last != nil {
		t.Errorf("04:00 in Tokyo on February 3rd is %+v", e)
	}
	if e := listed["clocked later"]; e.Next == nil || time.Until(*e.Next).Abs() > 25*time.Hour || e.Source != "django" || e.Task != "t.later" {
		t.Errorf("what is clocked is %+v", e)
	}
	if e := listed["slow"]; e.Schedule != "<freq: 2.00 seconds>" || e.Count < 2 || e.Last == nil || e.Next == nil || !e.Next.After(*e.Last) || !e.Enabled {
		t.Errorf("what runs every two seconds is %+v", e)
	}
	if _, ok := listed["gone"]; ok || listed["once"].Enabled || listed["clocked"].Enabled {
		t.Errorf("listed as if it ran: %+v", listed)
	}
	s.stop(beat)
	if n := len(s.sent()["clocked"]); n != 1 {
		t.Errorf("what is clocked was sent %d times", n)
	}
}

// listedEntry is what apium beat list --json says of an entry.
type listedEntry struct {
	Name, Task, Schedule, Source string
	Last                         *time.Time `json:"last_run_at"`
	Next                         *time.Time `json:"next_run_at"`
	Count                        int        `json:"total_run_count"`
	Enabled                      bool
}

// list has entries listed as JSON.
func (s *periodicSite) list() map[string]listedEntry {
	s.t.Helper()
	said := s.apiumIn(s.t, djangoBeatDir, "-A", "proj", "--python", s.python(), "beat", "list", "--json", "-S", "django")
	all := map[string]listedEntry{}
	for line := range strings.Lines(said.stdout) {
		var e listedEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("%v in %q, %s", err, said.stdout, said.stderr)
		}
		all[e.Name] = e
	}
	return all
}

// TestDjangoBeatInTheAdmin: the pages of Django's admin show when our beat has sent a task.
func TestDjangoBeatInTheAdmin(t *testing.T) {
	t.Parallel()
	s := newPeriodicSite(t, sqltest.SQLite)
	s.do(step{"create", []fields{{"name": "shown", "task": "t.shown", "interval": []any{1, "seconds"}}}})
	page := func() (shown struct{ Page, List string }) {
		t.Helper()
		if err := json.Unmarshal(s.do(step{"page", "shown"})[0], &shown); err != nil {
			t.Fatal(err)
		}
		return shown
	}
	if before := page(); before.Page != "-" || before.List != "-" {
		t.Errorf("before its first run, the pages show %+v", before)
	}
	beat := s.apiumBeat()
	s.waitSent(2, "shown")
	s.stop(beat)
	// As Django writes it, and where its clock is.
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	day := time.Now().In(zone).Format(" 2, 2006, ")
	if after := page(); after.Page != after.List || !strings.Contains(after.Page, day) {
		t.Errorf("after two runs, the pages show %+v", after)
	}
}
