package sqlbackend_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol"
)

// What can never be stored is refused, and harms nobody.
func TestOneDoesNotFit(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, db *sqltest.Database, cfg sqlbackend.Config) {
		b := open(t, cfg)
		var records []backend.Record
		for i := range 50 {
			records = append(records, extended("SUCCESS", fmt.Sprint(i)))
		}
		long := strings.Repeat("x", 300)
		records[7] = extended("SUCCESS", long)
		records[20].Document = []byte(`{"result": 1}`)
		records[30] = extended(protocol.State(strings.Repeat("Y", 60)), "30")
		refused := map[string]bool{"20": true, long: true, "30": true}
		if db.Dialect == sqltest.SQLite { // its columns have no lengths
			refused = map[string]bool{"20": true}
		}
		err := b.Store(t.Context(), records...)
		var all []error
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			all = joined.Unwrap()
		}
		for _, err := range all {
			var one *backend.RecordError
			if !errors.As(err, &one) || !refused[one.TaskID] {
				t.Errorf("refused: %v", err)
			}
		}
		if len(all) != len(refused) {
			t.Fatalf("Store: %v", err)
		}
		for i, r := range records {
			if got, err := b.Load(t.Context(), r.TaskID); refused[r.TaskID] != (err != nil) {
				t.Errorf("%d: %s, %v", i, got, err)
			}
		}
	})
}

// A traceback that no column takes is shortened: its end says what went wrong.
func TestLongTraceback(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, _ *sqltest.Database, cfg sqlbackend.Config) {
		b := open(t, cfg)
		traceback := strings.Repeat("é", 100_000) + "the end"
		r := protocol.Result{State: "FAILURE", Result: []byte(`{"exc_type": "E", "exc_message": [], "exc_module": "m"}`), Traceback: &traceback, TaskID: "id"}
		if err := b.Store(t.Context(), backend.Record{TaskID: "id", Document: r.Append(nil)}); err != nil {
			t.Fatal(err)
		}
		got, err := b.Load(t.Context(), "id")
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := protocol.DecodeResult(got)
		if err != nil || !strings.HasSuffix(*loaded.Traceback, "the end") {
			t.Errorf("%v, %.100s", err, got)
		}
	})
}

// The first state's dates stay when the task is done.
func TestDatesStay(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		for _, together := range []bool{true, false} {
			t.Run(fmt.Sprint(dialect, together), func(t *testing.T) {
				t.Parallel()
				db, cfg := database(t, dialect, sqlbackend.Django)
				b := open(t, cfg)
				dates := func() (dates [2]string) {
					text := "char(30)"
					if dialect != sqltest.MySQL {
						text = "text"
					}
					if err := db.Open(t).QueryRow("SELECT CAST(date_created AS "+text+"), CAST(date_started AS "+text+
						") FROM django_celery_results_taskresult").Scan(&dates[0], &dates[1]); err != nil {
						t.Fatal(err)
					}
					return dates
				}
				states := []backend.Record{extended("STARTED", "id"), extended("RETRY", "id"), extended("SUCCESS", "id"), extended("STARTED", "id")}
				if together {
					if err := b.Store(t.Context(), states...); err != nil {
						t.Fatal(err)
					}
					dates() // both are there
					return
				}
				var first [2]string
				for i, r := range states {
					if err := b.Store(t.Context(), r); err != nil {
						t.Fatal(err)
					}
					if i == 0 {
						first = dates()
					} else if now := dates(); now != first {
						t.Errorf("dates %q after %d states, were %q", now, i+1, first)
					}
				}
			})
		}
	}
}

// Writers of the same tasks in different order are in each other's way, and all get through.
func TestConflictsAreRetried(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, _ *sqltest.Database, cfg sqlbackend.Config) {
		const tasks, writers = 40, 6
		var wg sync.WaitGroup
		for w := range writers {
			b := open(t, cfg)
			wg.Go(func() {
				for round := range 5 {
					var records []backend.Record
					for i := range tasks {
						n := i
						if w%2 == 1 {
							n = tasks - 1 - i
						}
						records = append(records, backendtest.Record("RETRY", fmt.Sprint(n), fmt.Sprint(round)))
					}
					if err := b.Store(t.Context(), records...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// Results are written in the result serializer, and read whatever they are in.
func TestSerializers(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, _ *sqltest.Database, cfg sqlbackend.Config) {
		names := []string{"json", "pickle", "yaml", "msgpack"}
		for _, name := range names {
			cfg.Serializer = name
			b := open(t, cfg)
			if err := b.Store(t.Context(), extended("SUCCESS", name)); err != nil {
				t.Fatal(err)
			}
			exception := `{"exc_type": "E", "exc_message": ["x"], "exc_module": "m"}`
			if err := b.Store(t.Context(), backendtest.Record("FAILURE", name+"2", exception)); err != nil {
				t.Fatal(err)
			}
			if err := b.SaveGroup(t.Context(), name, []byte(`{"result": [["g", null], []]}`)); err != nil {
				t.Fatal(err)
			}
			readers := []string{name}
			if cfg.Layout == sqlbackend.Django { // whose rows say what they are in
				readers = names
			}
			for _, reader := range readers {
				cfg.Serializer = reader
				b := open(t, cfg)
				for id, want := range map[string]string{name: `{"a": [1, 2.0]}`, name + "2": exception} {
					got, err := b.Load(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					if r, err := protocol.DecodeResult(got); err != nil || string(r.Result) != want {
						t.Errorf("%s, read with %s: %s, %v", id, reader, got, err)
					}
				}
				if got, err := b.LoadGroup(t.Context(), name); err != nil || string(got) != `{"result": [["g", null], []]}` {
					t.Errorf("group: %s, %v", got, err)
				}
			}
		}
	})
}

// What cannot be read says so.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, db *sqltest.Database, cfg sqlbackend.Config) {
		b := open(t, cfg)
		if err := b.Store(t.Context(), extended("SUCCESS", "id")); err != nil {
			t.Fatal(err)
		}
		table := map[sqlbackend.Layout]string{sqlbackend.Django: "django_celery_results_taskresult", sqlbackend.SQLAlchemy: "celery_taskmeta"}[cfg.Layout]
		db.Exec(t, "UPDATE "+table+" SET result = 'nonsense'")
		if got, err := b.Load(t.Context(), "id"); !errors.Is(err, backend.ErrUnreadable) || !strings.Contains(err.Error(), "the record of task id") {
			t.Errorf("Load: %s, %v", got, err)
		}
		if got, err := b.Wait(t.Context(), "id"); !errors.Is(err, backend.ErrUnreadable) {
			t.Errorf("Wait: %s, %v", got, err)
		}
	})
}

// Whoever has no tables is told what to do, and the old djcelery's are left alone.
func TestOtherTables(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			db := sqltest.New(t, dialect)
			b := open(t, sqlbackend.Config{Layout: sqlbackend.Django, URL: db.URL()})
			if err := b.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), `run "python manage.py migrate django_celery_results"`) {
				t.Errorf("without tables: %v", err)
			}
			if _, err := b.Wait(t.Context(), "id"); err == nil || !strings.Contains(err.Error(), "migrate") {
				t.Errorf("Wait without tables: %v", err)
			}
			migrate(t, db)
			if err := b.Store(t.Context(), extended("SUCCESS", "id")); err != nil {
				t.Errorf("after migrate: %v", err)
			}
			db.Exec(t, "CREATE TABLE celery_taskmeta (id int, task_id varchar(255), status varchar(50), result text, hidden int)")
			err := open(t, sqlbackend.Config{Layout: sqlbackend.SQLAlchemy, URL: db.URL()}).Store(t.Context(), extended("SUCCESS", "id"))
			if err == nil || !strings.Contains(err.Error(), "the old djcelery's") {
				t.Errorf("with djcelery's tables: %v", err)
			}
		})
	}
}
