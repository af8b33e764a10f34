package sqlbackend_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
)

// TestCleanup: what is older than result_expires goes, in every layout and database, also when it
// is more than one group of rows; without result_expires all stays.
func TestCleanup(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, db *sqltest.Database, cfg sqlbackend.Config) {
		const old = 1_050
		b := open(t, cfg)
		records := make([]backend.Record, old)
		for i := range records {
			records[i] = backendtest.Record("SUCCESS", fmt.Sprint("old", i), "1")
		}
		if err := b.Store(t.Context(), records...); err != nil {
			t.Fatal(err)
		}
		if err := b.SaveGroup(t.Context(), "group", []byte(`{"result": [["group", null], []]}`)); err != nil {
			t.Fatal(err)
		}
		tables := []string{"django_celery_results_taskresult", "django_celery_results_groupresult"}
		if cfg.Layout == sqlbackend.SQLAlchemy {
			tables = []string{"celery_taskmeta", "celery_tasksetmeta"}
		}
		for _, table := range tables {
			db.Exec(t, "UPDATE "+table+" SET date_done = '2026-01-01 00:00:00'")
		}
		if err := b.Store(t.Context(), backendtest.Record("SUCCESS", "new", "1")); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, fmt.Sprintf("UPDATE %s SET date_done = '%s' WHERE task_id = 'new'", tables[0], time.Now().UTC().Add(-50*time.Minute).Format(time.DateTime)))
		count := func(want int) {
			t.Helper()
			n := 0
			for _, table := range tables {
				var rows int
				if err := db.Open(t).QueryRow("SELECT count(*) FROM " + table).Scan(&rows); err != nil {
					t.Fatal(err)
				}
				n += rows
			}
			if n != want {
				t.Errorf("%d rows are left, want %d", n, want)
			}
		}
		if n, err := b.Cleanup(t.Context()); n != 0 || err != nil {
			t.Errorf("without result_expires: %d, %v", n, err)
		}
		count(old + 2)
		cfg.Expires = time.Hour
		if n, err := open(t, cfg).Cleanup(t.Context()); n != old+1 || err != nil {
			t.Errorf("deleted %d, %v; want %d", n, err, old+1)
		}
		count(1)
	})
}

// TestCleanupOfChords: the counter of a chord whose body was published, by somebody who died then,
// goes with the results of its time. Others stay.
func TestCleanupOfChords(t *testing.T) {
	inEvery(t, func(t *testing.T, b *chordBench) {
		for _, id := range []string{"old", "new"} {
			b.list(id, 1)
			b.count(states{isComplete}, part(id, 0, "SUCCESS"))
		}
		b.list("open", 1)
		b.exec(`UPDATE django_celery_results_chordcounter SET sub_tasks = '{"sub_tasks": [], "token": "t", "until": 1000}' WHERE group_id = 'old'`)
		b.cfg.Expires = time.Hour
		if _, err := open(t, b.cfg).Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]int{"old": -1, "new": 0, "open": 1} {
			if n := b.left(id); n != want {
				t.Errorf("the counter of %s says %d, want %d", id, n, want)
			}
		}
	})
}
