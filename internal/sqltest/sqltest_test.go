package sqltest_test

import (
	"os"
	"testing"

	"github.com/apium/apium/internal/sqltest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	sqltest.Stop()
	os.Exit(code)
}

func TestDatabasesAreEmptyAndOnesOwn(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.PostgreSQL, sqltest.MySQL, sqltest.SQLite} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				d := sqltest.New(t, dialect)
				d.Exec(t, "CREATE TABLE a (b varchar(10))", "INSERT INTO a VALUES ('张伟😀')")
				var text string
				if err := d.Open(t).QueryRow("SELECT b FROM a").Scan(&text); err != nil || text != "张伟😀" {
					t.Fatalf("%s: read %q, %v", d.URL(), text, err)
				}
			}
		})
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.PostgreSQL, sqltest.MySQL, sqltest.SQLite} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			d := sqltest.New(t, dialect)
			d.Exec(t, "CREATE TABLE b (id integer PRIMARY KEY)", "CREATE TABLE a (b integer REFERENCES b (id))",
				"INSERT INTO b VALUES (1)", "INSERT INTO a VALUES (1)")
			made := d.Copy(t)
			made.Exec(t, "INSERT INTO b VALUES (2)", "INSERT INTO a VALUES (2)")
			for d, want := range map[*sqltest.Database]int{d: 1, made: 2} {
				var n int
				if err := d.Open(t).QueryRow("SELECT count(*) FROM a JOIN b ON a.b = b.id").Scan(&n); err != nil || n != want {
					t.Errorf("%s has %d rows, want %d: %v", d.Name, n, want, err)
				}
			}
		})
	}
}

func TestRestartKeepsTheData(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := sqltest.Start(t, dialect)
			d := s.Database(t)
			db := d.Open(t)
			d.Exec(t, "CREATE TABLE a (b integer)", "INSERT INTO a VALUES (1)")
			s.Stop()
			if err := db.Ping(); err == nil {
				t.Fatal("a stopped server answers")
			}
			s.Restart(t)
			var n int
			if err := db.QueryRow("SELECT b FROM a").Scan(&n); err != nil || n != 1 {
				t.Fatalf("after a restart: %d, %v", n, err)
			}
		})
	}
}
