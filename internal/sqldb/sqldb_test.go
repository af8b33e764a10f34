package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/apium/apium/internal/sqldb"
)

// No goroutine outlives what started it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string) *sqldb.DB {
	t.Helper()
	s, err := sqldb.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	db := s.Open(0)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), db.Dialect.Bind(statement), args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Paths may hold what URLs and SQLite's file names have other uses for.
func TestSQLitePaths(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain.db", "with space.db", "100%25.db", "a#b.db", "é.db"} {
		path := filepath.Join(t.TempDir(), name)
		exec(t, open(t, "sqlite:///"+path), "CREATE TABLE t (x int)")
		if err := open(t, "sqlite:///"+path).QueryRowContext(t.Context(), "SELECT x FROM t").Scan(new(int)); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("%s: %v", name, err)
		}
		if found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(found) != 1 || found[0] != path {
			t.Errorf("%s: %q, %v", name, found, err)
		}
	}
}

// Writers wait for each other: nobody finds the database locked.
func TestSQLiteWriters(t *testing.T) {
	t.Parallel()
	url := "sqlite:///" + filepath.Join(t.TempDir(), "x.db")
	exec(t, open(t, url), "CREATE TABLE t (n int)")
	exec(t, open(t, url), "INSERT INTO t VALUES (0)")
	var wg sync.WaitGroup
	for range 4 {
		db := open(t, url)
		wg.Go(func() {
			for range 25 {
				if err := db.Tx(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					var n int
					if err := tx.QueryRowContext(ctx, "SELECT n FROM t").Scan(&n); err != nil {
						return err
					}
					_, err := tx.ExecContext(ctx, "UPDATE t SET n = ?", n+1)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := open(t, url).QueryRowContext(t.Context(), "SELECT n FROM t").Scan(&n); err != nil || n != 100 {
		t.Errorf("%d, %v", n, err)
	}
}

// Dates are Django's text, in the zone that it has them in.
func TestSQLiteDates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	for zone, want := range map[string]string{"": "2026-11-28 21:45:41.341194", "Europe/Berlin": "2026-11-28 22:45:41.341194"} {
		s, err := sqldb.FromDjango([]byte(`{"ENGINE": "django.db.backends.sqlite3", "NAME": "` + path + `", "TIME_ZONE": "` + zone + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		db := s.Open(1)
		exec(t, db, "DROP TABLE IF EXISTS t")
		exec(t, db, "CREATE TABLE t (d datetime)")
		at := time.Date(2026, 11, 28, 21, 45, 41, 341194999, time.UTC)
		exec(t, db, "INSERT INTO t VALUES (?)", db.Date(at))
		var text string
		var back time.Time
		if err := db.QueryRowContext(t.Context(), "SELECT CAST(d AS text) FROM t").Scan(&text); err != nil || text != want {
			t.Errorf("%s: %q, %v", zone, text, err)
		}
		for _, column := range []string{"d", "CAST(d AS text)"} {
			if err := db.QueryRowContext(t.Context(), "SELECT "+column+" FROM t").Scan(db.Time(&back)); err != nil || !back.Equal(at.Truncate(time.Microsecond)) {
				t.Errorf("%s: %v, %v", zone, back, err)
			}
		}
		exec(t, db, "UPDATE t SET d = ?", db.Date(time.Time{}))
		if err := db.QueryRowContext(t.Context(), "SELECT d FROM t").Scan(db.Time(&back)); err != nil || !back.IsZero() {
			t.Errorf("NULL: %v, %v", back, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What an error comes from is told by its code.
func TestTrouble(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite:///"+filepath.Join(t.TempDir(), "x.db"))
	exec(t, db, "CREATE TABLE t (x int UNIQUE)")
	exec(t, db, "INSERT INTO t VALUES (1)")
	_, err := db.ExecContext(t.Context(), "INSERT INTO t VALUES (1)")
	if !sqldb.Duplicate(err) {
		t.Errorf("duplicate: %v", err)
	}
	if _, err = db.ExecContext(t.Context(), "INSERT INTO none VALUES (1)"); !sqldb.NoTable(err) {
		t.Errorf("no table: %v", err)
	}
	for _, url := range []string{"postgresql://u:secret@127.0.0.1:1/n", "mysql://u:secret@127.0.0.1:1/n", "sqlite:////none/at/all.db"} {
		if err := open(t, url).PingContext(t.Context()); sqldb.TroubleOf(err) != sqldb.Away {
			t.Errorf("%s: %v", url, err)
		}
	}
}
