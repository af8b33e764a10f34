package compat_test

import (
	"database/sql"
	"encoding/json"
	"testing"

	"github.com/apium/apium/internal/sqltest"
)

// resultsDB is a database that results are stored in, by Python and by us.
type resultsDB struct {
	*sqltest.Database
	db        *sql.DB
	python    string   // Python's result_backend
	ours      string   // our --result-backend
	variables []string // of the environment of who runs tapp
}

// sqlPlaces are the kinds of backend and database, by name.
var sqlPlaces = map[string]struct {
	django  bool
	dialect string
}{
	"django-db in PostgreSQL": {true, sqltest.PostgreSQL},
	"django-db in MariaDB":    {true, sqltest.MySQL},
	"django-db in SQLite":     {true, sqltest.SQLite},
	"database in PostgreSQL":  {false, sqltest.PostgreSQL},
	"database in MariaDB":     {false, sqltest.MySQL},
	"database in SQLite":      {false, sqltest.SQLite},
}

// newResultsDB makes a database. Those of Django get their tables from Django's migrations.
func newResultsDB(t *testing.T, name string) *resultsDB {
	t.Helper()
	place := sqlPlaces[name]
	return resultsDBIn(t, sqltest.New(t, place.dialect), place.django)
}

func resultsDBIn(t *testing.T, db *sqltest.Database, django bool) *resultsDB {
	t.Helper()
	if !django {
		url := "db+" + db.URL()
		return &resultsDB{Database: db, db: db.Open(t), python: url, ours: url}
	}
	entry, err := json.Marshal(db.Django())
	if err != nil {
		t.Fatal(err)
	}
	r := &resultsDB{
		Database: db, db: db.Open(t), python: "django-db", ours: "django-db+" + db.URL(),
		variables: []string{"DJANGO_SETTINGS_MODULE=sqlsettings", "DJANGO_DATABASE=" + string(entry)},
	}
	app{variables: r.variables}.run(t, nil, `import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)`)
	return r
}

// app is one with a broker whose results are in the database.
func (r *resultsDB) app(server *redisServer) app {
	return app{broker: server.url(0), journal: server.url(1), backend: r.python, ours: r.ours, variables: r.variables}
}

// noCounters waits until no counter of a chord is left, but of those whose body was published by
// somebody who died before the row was deleted: celery.backend_cleanup does that.
func (r *resultsDB) noCounters(t *testing.T) {
	t.Helper()
	if r.python == "django-db" {
		eventually(t, patience, "no counter is left", func() bool { return r.count(t, "django_celery_results_chordcounter WHERE count > 0") == 0 })
	}
}

// count counts the rows of a query.
func (r *resultsDB) count(t *testing.T, query string) (n int) {
	t.Helper()
	if err := r.db.QueryRow("SELECT count(*) FROM " + query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
