package djangobeat

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/internal/sqltest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	sqltest.Stop()
	os.Exit(code)
}

// tables are those of django-celery-beat 2.9, as Django makes them in SQLite, without foreign keys.
const tables = `
CREATE TABLE django_celery_beat_intervalschedule (id integer NOT NULL PRIMARY KEY, every integer NOT NULL, period varchar(24) NOT NULL);
CREATE TABLE django_celery_beat_crontabschedule (id integer NOT NULL PRIMARY KEY, minute varchar(240) NOT NULL, hour varchar(96) NOT NULL,
	day_of_week varchar(64) NOT NULL, day_of_month varchar(124) NOT NULL, month_of_year varchar(64) NOT NULL, timezone varchar(63) NOT NULL);
CREATE TABLE django_celery_beat_solarschedule (id integer NOT NULL PRIMARY KEY, event varchar(24) NOT NULL, latitude decimal(9, 6) NOT NULL, longitude decimal(9, 6) NOT NULL);
CREATE TABLE django_celery_beat_clockedschedule (id integer NOT NULL PRIMARY KEY, clocked_time datetime NOT NULL);
CREATE TABLE django_celery_beat_periodictasks (ident smallint NOT NULL PRIMARY KEY, last_update datetime NOT NULL);
CREATE TABLE django_celery_beat_periodictask (id integer NOT NULL PRIMARY KEY, name varchar(200) NOT NULL UNIQUE, task varchar(200) NOT NULL,
	args text NOT NULL, kwargs text NOT NULL, queue varchar(200) NULL, exchange varchar(200) NULL, routing_key varchar(200) NULL,
	expires datetime NULL, enabled bool NOT NULL, last_run_at datetime NULL, total_run_count integer NOT NULL, date_changed datetime NOT NULL,
	description text NOT NULL, crontab_id integer NULL, interval_id integer NULL, solar_id integer NULL, one_off bool NOT NULL,
	start_time datetime NULL, priority integer NULL, headers text NOT NULL, clocked_id integer NULL, expire_seconds integer NULL)`

// oldTables are those of django-celery 3.3.
const oldTables = `
CREATE TABLE djcelery_intervalschedule (id integer NOT NULL PRIMARY KEY, every integer NOT NULL, period varchar(24) NOT NULL);
CREATE TABLE djcelery_crontabschedule (id integer NOT NULL PRIMARY KEY, minute varchar(64) NOT NULL, hour varchar(64) NOT NULL,
	day_of_week varchar(64) NOT NULL, day_of_month varchar(64) NOT NULL, month_of_year varchar(64) NOT NULL);
CREATE TABLE djcelery_periodictasks (ident smallint NOT NULL PRIMARY KEY, last_update datetime NOT NULL);
CREATE TABLE djcelery_periodictask (id integer NOT NULL PRIMARY KEY, name varchar(200) NOT NULL UNIQUE, task varchar(200) NOT NULL,
	args text NOT NULL, kwargs text NOT NULL, queue varchar(200) NULL, exchange varchar(200) NULL, routing_key varchar(200) NULL,
	expires datetime NULL, enabled bool NOT NULL, last_run_at datetime NULL, total_run_count integer NOT NULL, date_changed datetime NOT NULL,
	description text NOT NULL, crontab_id integer NULL, interval_id integer NULL)`

// dialectOf writes statements for SQLite as others have them.
func dialectOf(dialect string) *strings.Replacer {
	switch dialect {
	case sqltest.PostgreSQL:
		return strings.NewReplacer(" datetime", " timestamp with time zone", " bool ", " boolean ")
	case sqltest.MySQL:
		return strings.NewReplacer(" datetime", " datetime(6)")
	}
	return strings.NewReplacer()
}

// rig is a database with the tables, and a source of them.
type rig struct {
	*sqltest.Database
	*Source
	t  *testing.T
	db *sqldb.DB
}

// onEach runs a test on all dialects.
func onEach(t *testing.T, ddl string, test func(t *testing.T, r *rig)) {
	for _, dialect := range []string{sqltest.SQLite, sqltest.PostgreSQL, sqltest.MySQL} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			test(t, newRig(t, dialect, ddl))
		})
	}
}

func newRig(t *testing.T, dialect, ddl string) *rig {
	t.Helper()
	r := &rig{Database: sqltest.New(t, dialect), t: t}
	r.Exec(t, strings.Split(dialectOf(dialect).Replace(ddl), ";")...)
	r.open(Config{Old: ddl == oldTables})
	return r
}

// open makes the rig's source anew.
func (r *rig) open(cfg Config) {
	r.t.Helper()
	cfg.URL = r.URL()
	if r.Source != nil {
		_ = r.Close()
	}
	source, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Source, r.db = source, source.db
	r.t.Cleanup(func() { _ = r.Close() })
}

// insert inserts a row, whose columns are column, value, column, value …; times are written as Django does.
func (r *rig) insert(table string, columns ...any) {
	r.t.Helper()
	var names, values []string
	var args []any
	for i := 0; i < len(columns); i += 2 {
		names = append(names, columns[i].(string))
		values = append(values, r.db.Dialect.Placeholder(1+i/2))
		value := columns[i+1]
		if at, ok := value.(time.Time); ok {
			value = r.db.Date(at)
		}
		args = append(args, value)
	}
	statement := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", r.layout.table(r.db.Dialect, table), strings.Join(names, ", "), strings.Join(values, ", "))
	if _, err := r.db.ExecContext(r.t.Context(), statement, args...); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

// task inserts a periodic task that was saved at changedAt, with these columns besides those that it must have.
func (r *rig) task(id int, name string, columns ...any) {
	r.t.Helper()
	all := map[string]any{
		"id": id, "name": name, "task": "t." + name, "args": "[]", "kwargs": "{}", "enabled": true, "total_run_count": 0,
		"date_changed": changedAt, "description": "", "one_off": false, "headers": "{}",
	}
	if r.layout.old {
		delete(all, "one_off")
		delete(all, "headers")
	}
	for i := 0; i < len(columns); i += 2 {
		all[columns[i].(string)] = columns[i+1]
	}
	var list []any
	for column, value := range all {
		list = append(list, column, value)
	}
	r.insert("periodictask", list...)
}

var changedAt = time.Date(2026, 11, 29, 10, 5, 54, 675765000, time.UTC)

// load loads the entries by name.
func (r *rig) load() map[string]*beat.Entry {
	r.t.Helper()
	entries, err := r.Load(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	found := map[string]*beat.Entry{}
	for _, e := range entries {
		found[e.Name] = e
	}
	return found
}

func (r *rig) change(statement string, args ...any) {
	r.t.Helper()
	if _, err := r.db.ExecContext(r.t.Context(), r.db.Dialect.Bind(statement), args...); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

func (r *rig) hasChanged() bool {
	r.t.Helper()
	changed, err := r.Changed(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return changed
}
