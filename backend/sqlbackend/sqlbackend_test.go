package sqlbackend_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol"
)

var layouts = map[string]sqlbackend.Layout{"django": sqlbackend.Django, "sqlalchemy": sqlbackend.SQLAlchemy}

// every runs a test with each layout in each database.
func every(t *testing.T, test func(t *testing.T, db *sqltest.Database, cfg sqlbackend.Config)) {
	t.Helper()
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		for name, layout := range layouts {
			t.Run(name+" in "+dialect, func(t *testing.T) {
				t.Parallel()
				db, cfg := database(t, dialect, layout)
				test(t, db, cfg)
			})
		}
	}
}

// database makes a database, with Django's tables if they are needed.
func database(t *testing.T, dialect string, layout sqlbackend.Layout) (*sqltest.Database, sqlbackend.Config) {
	t.Helper()
	db := sqltest.New(t, dialect)
	cfg := sqlbackend.Config{Layout: layout, Extended: true}
	if layout == sqlbackend.SQLAlchemy {
		cfg.URL = db.URL()
		return db, cfg
	}
	var err error
	if cfg.DjangoDatabase, err = json.Marshal(db.Django()); err != nil {
		t.Fatal(err)
	}
	migrate(t, db)
	return db, cfg
}

// migrate makes the tables that Django's migrations make.
func migrate(t *testing.T, db *sqltest.Database) {
	t.Helper()
	script, err := os.ReadFile("testdata/django_" + db.Dialect + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	db.Exec(t, strings.Split(strings.TrimSuffix(strings.TrimSpace(string(script)), ";"), ";\n")...)
}

func open(t *testing.T, cfg sqlbackend.Config) *sqlbackend.Backend {
	t.Helper()
	b, err := sqlbackend.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBackend(t *testing.T) {
	t.Parallel()
	features := backendtest.Features{Loads: true, Groups: true, Encodes: true}
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		for name, layout := range layouts {
			t.Run(name+" in "+dialect, func(t *testing.T) {
				t.Parallel()
				backendtest.Run(t, features, func(t *testing.T) backend.Store {
					db, cfg := database(t, dialect, layout)
					b := open(t, cfg)
					if dialect == sqltest.MySQL && layout == sqlbackend.SQLAlchemy { // whose dates have no fractions
						if err := b.Ping(context.Background()); err != nil {
							t.Fatal(err)
						}
						db.Exec(t, "ALTER TABLE celery_taskmeta MODIFY date_done datetime(6)")
					}
					return b
				})
			})
		}
	}
}

// The tables that are made are SQLAlchemy's, wherever they are, and by whoever is first.
func TestTablesAreMadeOnce(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			_, cfg := database(t, dialect, sqlbackend.SQLAlchemy)
			cfg.TaskTable, cfg.GroupTable = "my tasks", "my_groups"
			var wg sync.WaitGroup
			for range 5 {
				b := open(t, cfg)
				wg.Go(func() {
					if err := b.Store(t.Context(), backendtest.Record("SUCCESS", "id", "1")); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if _, err := open(t, cfg).Load(t.Context(), "id"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Schemas of PostgreSQL, with the sequence in the same one.
func TestSchemas(t *testing.T) {
	t.Parallel()
	db, cfg := database(t, sqltest.PostgreSQL, sqlbackend.SQLAlchemy)
	db.Exec(t, "CREATE SCHEMA one", "CREATE SCHEMA two")
	cfg.TaskSchema, cfg.GroupSchema = "one", "two"
	b := open(t, cfg)
	if err := b.Store(t.Context(), backendtest.Record("SUCCESS", "id", "1")); err != nil {
		t.Fatal(err)
	}
	if err := b.SaveGroup(t.Context(), "g", []byte(`{"result": [["g", null], []]}`)); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"one.celery_taskmeta", "two.celery_tasksetmeta"} {
		var n int
		if err := db.Open(t).QueryRow("SELECT count(*) FROM " + table + " WHERE id = 1").Scan(&n); err != nil || n != 1 {
			t.Errorf("%s: %d, %v", table, n, err)
		}
	}
}

// Tables of Celery before 5.7 have no children, and those without result_extended less.
func TestMissingColumnsAreAdded(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			db, cfg := database(t, dialect, sqlbackend.SQLAlchemy)
			cfg.Pickled, cfg.Extended = true, false
			if err := open(t, cfg).Store(t.Context(), extended("SUCCESS", "old")); err != nil {
				t.Fatal(err)
			}
			if columns := columnsOf(t, db, "celery_taskmeta"); len(columns) != 6 {
				t.Fatalf("before: %q", columns)
			}
			cfg.Pickled, cfg.Extended = false, true
			b := open(t, cfg)
			if err := b.Store(t.Context(), extended("SUCCESS", "new")); err != nil {
				t.Fatal(err)
			}
			if columns := columnsOf(t, db, "celery_taskmeta"); len(columns) != 14 {
				t.Fatalf("after: %q", columns)
			}
			for id, name := range map[string]string{"old": "", "new": "t.add"} {
				got, err := b.Load(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				r, err := protocol.DecodeResult(got)
				if err != nil || string(r.Result) != `{"a": [1, 2.0]}` || name != "" && (r.Extended == nil || r.Extended.Name != name || string(r.Children) != string(child)) {
					t.Errorf("%s: %s, %v", id, got, err)
				}
			}
		})
	}
}

var child = []byte(`[[["child", null], null]]`)

// extended is a record with result_extended and a child.
func extended(state protocol.State, id string) backend.Record {
	traceback := "Traceback é\x00 😀"
	r := protocol.Result{
		State: state, Result: []byte(`{"a": [1, 2.0]}`), Traceback: &traceback, Children: child, TaskID: id,
		Extended: &protocol.Extended{
			Name: "t.add", Args: []byte(`[1, "é"]`), Kwargs: []byte(`{"y": 2}`), Worker: "celery@" + strings.Repeat("ü", 200), Retries: 3, Queue: "q",
			StampedHeaders: []string{"s"}, Stamps: []byte(`{"s": ["x"]}`),
		},
	}
	if state.Ready() {
		r.DateDone = time.Now()
	}
	return backend.Record{TaskID: id, Document: r.Append(nil), Task: &protocol.Task{
		ArgsRepr: "(1, 'é')", KwargsRepr: "{'y': 2}", Headers: []byte(`{"periodic_task_name": "nightly", "meta": {"a": 1}}`),
	}}
}

func columnsOf(t *testing.T, db *sqltest.Database, table string) []string {
	t.Helper()
	rows, err := db.Open(t).QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	return columns
}
