package compat_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
)

// sqlResults is an app whose results are in a database.
type sqlResults struct {
	app
	db    *sqltest.Database
	table string // of tasks
}

// newSQLResults makes an app, and Django's tables.
func newSQLResults(t *testing.T, venv, backend string, db *sqltest.Database, broker string, settings map[string]any) sqlResults {
	t.Helper()
	a := app{venv: venv, broker: broker, module: "sqlresults", settings: settings}
	if backend != "django-db" {
		a.backend = "db+" + db.URL()
		return sqlResults{a, db, "celery_taskmeta"}
	}
	a.backend, a.variables = backend, []string{"DATABASE=" + toJSON(t, db.Django())}
	if db.Dialect == sqltest.MySQL { // with PyMySQL, Celery's main process does not store that
		a.variables = append(a.variables, "WITHOUT=lost")
	}
	s := sqlResults{a, db, "django_celery_results_taskresult"}
	migrate := exec.Command(a.python(), "-m", "django", "migrate", "--settings", "sqlresults_settings", "-v", "0")
	migrate.Dir, migrate.Env = appDir, append(os.Environ(), a.env(t)...)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	return s
}

// rows are all rows of the tasks' table, by task and column.
func (s sqlResults) rows(t *testing.T) map[string]map[string]any {
	t.Helper()
	rows, err := s.db.Open(t).QueryContext(t.Context(), "SELECT * FROM "+s.table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := map[string]any{}
		for i, name := range columns {
			row[name] = alike(name, values[i])
		}
		all[fmt.Sprint(row["task_id"])] = row
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

var varies = regexp.MustCompile(`Job: \d+|"pid": \d+|line \d+`)

// alike leaves out of a value what no two runs have in common.
func alike(column string, value any) any {
	switch value := value.(type) {
	case nil:
		return nil
	case time.Time:
		return "a date"
	case []byte:
		return varies.ReplaceAllString(string(value), "#")
	case string:
		if strings.HasPrefix(column, "date_") {
			return "a date"
		}
		return varies.ReplaceAllString(value, "#")
	}
	if column == "id" {
		return "a number"
	}
	return value
}

// Rows are those that a Celery worker writes, column by column, whichever way a task ends. Python
// reads the same from them.
func TestSQLResultsAreCelerys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		venv, backend, dialect string
		extended               bool
	}{
		{"", "django-db", sqltest.PostgreSQL, true},
		{"", "django-db", sqltest.MySQL, false},
		{"", "database", sqltest.PostgreSQL, false},
		{"", "database", sqltest.SQLite, true},
		{celery52, "django-db", sqltest.PostgreSQL, true},
		{celery52, "database", sqltest.PostgreSQL, true},
		{celery44, "django-db", sqltest.PostgreSQL, true}, // its django-celery-results 2.0 takes no notice of result_extended
		{celery44, "database", sqltest.PostgreSQL, false},
	} {
		t.Run(fmt.Sprint(c.venv, c.backend, c.dialect, c.extended), func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			settings := map[string]any{"result_extended": c.extended, "worker_hijack_root_logger": false}
			of := func(i int, run func(app)) (map[string]map[string]any, map[string][]string) {
				s := newSQLResults(t, c.venv, c.backend, sqltest.New(t, c.dialect), server.url(i), settings)
				run(s.app)
				var outcomes map[string][]string
				s.run(t, &outcomes, "sqlresults.py", "send")
				for _, outcome := range outcomes {
					outcome[1] = varies.ReplaceAllString(outcome[1], "#")
				}
				return s.rows(t), outcomes
			}
			wantRows, wantOutcomes := of(0, func(a app) {
				start(t, "celery worker", appDir, a.env(t), a.python(), "-m", "celery", "-A", "sqlresults", "worker", "-c", "1", "-n", "w@h", "-l", "info",
					"--without-gossip", "--without-mingle", "--without-heartbeat").waitLog(t, "ready.")
			})
			gotRows, gotOutcomes := of(1, func(a app) { a.startChildren(t, "-n", "w@h") })
			for id, want := range wantRows {
				if !c.extended && c.backend == "django-db" && want["traceback"] == nil && gotRows[id] != nil {
					gotRows[id]["traceback"] = nil // a defect of django-celery-results
				}
				for _, row := range []map[string]any{want, gotRows[id]} {
					switch id {
					case "soft", "hard", "lost": // what says so has another place in the traceback
						row["traceback"] = row["traceback"] != nil
					}
				}
			}
			if c.venv != "" && c.backend == "django-db" { // what its releases of that time did not keep
				for _, rows := range []map[string]map[string]any{wantRows, gotRows} {
					delete(rows["periodic"], "meta")
					delete(rows["periodic"], "periodic_task_name")
				}
			}
			if c.venv != "" && c.backend == "database" { // pickles of the same, and columns that were added since
				wantRows, gotRows = keepStates(wantRows), keepStates(gotRows)
			}
			if diff := cmp.Diff(wantRows, gotRows); diff != "" {
				t.Errorf("rows (-Celery +Apium):\n%s", diff)
			}
			if diff := cmp.Diff(wantOutcomes, gotOutcomes); diff != "" {
				t.Errorf("AsyncResult (-Celery +Apium):\n%s", diff)
			}
		})
	}
}

// keepStates keeps of each row its task's state.
func keepStates(rows map[string]map[string]any) map[string]map[string]any {
	states := map[string]map[string]any{}
	for id, row := range rows {
		states[id] = map[string]any{"status": row["status"]}
	}
	return states
}

// A database that is away is treated as Redis is: the worker lives and says so, and when the database
// is back every result is there.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			const n = 300
			redis, server := startRedis(t), sqltest.Start(t, dialect)
			s := newSQLResults(t, "", "django-db", server.Database(t), redis.url(0), nil)
			w := s.startChildren(t)
			server.Stop()
			s.run(t, nil, fmt.Sprintf("import django\nfrom sqlresults import add\ndjango.setup()\nfor i in range(%d): add.apply_async((i,), task_id='t%%d' %% i)", n))
			w.waitLog(t, "Cannot store results: ")
			server.Restart(t)
			eventually(t, patience, "all results are stored", func() bool { return len(s.rows(t)) == n })
			w.waitLog(t, "Managed to store results again")
			eventually(t, patience, "all messages are settled", func() bool { return redis.idle(t, "celery") })
			w.signal(t, syscall.SIGTERM)
			if code := w.exitCode(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// Groups that the worker keeps are Python's GroupResult.
func TestSQLGroupsAreCelerys(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"django-db", "database"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			db := sqltest.New(t, sqltest.PostgreSQL)
			s := newSQLResults(t, "", backend, db, startRedis(t).url(0), nil)
			cfg := sqlbackend.Config{Layout: sqlbackend.Django, URL: db.URL()}
			if backend == "database" {
				cfg.Layout = sqlbackend.SQLAlchemy
			}
			b, err := sqlbackend.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if err := b.SaveGroup(t.Context(), "go", []byte(`{"result": [["go", null], [[["a", null], null], [["b", null], null]]]}`)); err != nil {
				t.Fatal(err)
			}
			var got []any
			s.run(t, &got, `
import json, os
from sqlresults import app
if os.environ.get("DATABASE"):
    import django
    django.setup()
app.GroupResult("python", [app.AsyncResult("c")]).save()
print(json.dumps([r.id for r in app.GroupResult.restore("go")]))`)
			if diff := cmp.Diff([]any{"a", "b"}, got); diff != "" {
				t.Errorf("GroupResult.restore (-want +got):\n%s", diff)
			}
			if got, err := b.LoadGroup(t.Context(), "python"); err != nil || string(got) != `{"result": [["python", null], [[["c", null], null]]]}` {
				t.Errorf("LoadGroup: %s, %v", got, err)
			}
		})
	}
}
