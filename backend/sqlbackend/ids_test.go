package sqlbackend_test

import (
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol"
)

// TestIDsAreNotUsedUp: the many states of a task take one id, as Django's key may have 32 bits only. SQLite's have 64.
func TestIDsAreNotUsedUp(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, db *sqltest.Database, cfg sqlbackend.Config) {
		if db.Dialect == sqltest.SQLite {
			return
		}
		b := open(t, cfg)
		store := func(state protocol.State, ids ...string) {
			t.Helper()
			var records []backend.Record
			for _, id := range ids {
				record := protocol.Result{TaskID: id, State: state, Result: []byte("null")}
				records = append(records, backend.Record{TaskID: id, Document: record.Append(nil)})
			}
			if err := b.Store(t.Context(), records...); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			store("STARTED", "first")
			store("RETRY", "first")
		}
		store("STARTED", "first", "second") // one that is there, and one that is not
		store(protocol.Success, "second", "first")
		store(protocol.Success, "first")
		store(protocol.Success, "third")
		table := "celery_taskmeta"
		if cfg.Layout == sqlbackend.Django {
			table = "django_celery_results_taskresult"
		}
		var ids, rows int
		query := "SELECT max(id) - min(id) + 1, count(*) FROM " + table + " WHERE status = 'SUCCESS'"
		if err := db.Open(t).QueryRow(query).Scan(&ids, &rows); err != nil || ids != 3 || rows != 3 {
			t.Errorf("%d tasks have taken %d ids: %v", rows, ids, err)
		}
	})
}
