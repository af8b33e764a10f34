// Package sqltest gives tests their SQL databases: PostgreSQL and MariaDB, one server of each
// per test binary, and SQLite. Every test gets an empty database of its own.
//
// A server keeps its data in a temporary directory and ends with the test binary, however that
// ends. The programs are postgres and initdb, and mariadbd, from PATH or from where Debian's
// packages put them.
package sqltest

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql" // opens MariaDB
	_ "github.com/jackc/pgx/v5/stdlib" // opens PostgreSQL
	_ "modernc.org/sqlite"             // opens SQLite
)

// The names of the dialects, as SQLAlchemy's URLs begin.
const (
	PostgreSQL = "postgresql"
	MySQL      = "mysql"
	SQLite     = "sqlite"
)

// account and password are those of every server.
const account, password = "apium", "secret"

// Database is one database, empty at first.
type Database struct {
	Dialect string // one of the constants
	Name    string // for SQLite the path of its file

	server *Server // nil for SQLite
}

// shared are the servers that all tests of the binary use.
var (
	shared   = map[string]*Server{}
	sharedMu sync.Mutex
	names    atomic.Int64
)

// New returns an empty database of a dialect, on the server that all tests share.
func New(tb testing.TB, dialect string) *Database {
	tb.Helper()
	if dialect == SQLite {
		return &Database{Dialect: SQLite, Name: filepath.Join(tb.TempDir(), "test.sqlite3")}
	}
	sharedMu.Lock()
	server := shared[dialect]
	if server == nil {
		var err error
		if server, err = newServer(dialect); err != nil {
			sharedMu.Unlock()
			tb.Fatal(err)
		}
		shared[dialect] = server
	}
	sharedMu.Unlock()
	return server.Database(tb)
}

// Start starts a server of the test's own, which it may stop and restart.
func Start(tb testing.TB, dialect string) *Server {
	tb.Helper()
	server, err := newServer(dialect)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.close)
	return server
}

// Stop ends the shared servers and waits until nothing of them is left. A test binary that
// does not call it leaves that to the servers themselves, which end a moment after it.
func Stop() {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	for dialect, server := range shared {
		server.close()
		delete(shared, dialect)
	}
}

// Database creates an empty database, which ends with the server.
func (s *Server) Database(tb testing.TB) *Database {
	tb.Helper()
	return s.database(tb, "")
}

func (s *Server) database(tb testing.TB, how string) *Database {
	tb.Helper()
	d := &Database{Dialect: s.dialect, Name: fmt.Sprintf("test%d", names.Add(1)), server: s}
	s.admin(tb, "CREATE DATABASE "+d.Name+how)
	return d
}

// Copy returns a database with the tables and rows of d, in which nobody may write meanwhile, and to which, on PostgreSQL,
// nobody may be connected.
func (d *Database) Copy(tb testing.TB) *Database {
	tb.Helper()
	switch d.Dialect {
	case SQLite:
		made := New(tb, SQLite)
		raw, err := os.ReadFile(d.Name)
		if err == nil {
			err = os.WriteFile(made.Name, raw, 0o600)
		}
		if err != nil {
			tb.Fatalf("sqltest: %v", err)
		}
		return made
	case MySQL:
		made := d.server.Database(tb)
		made.fill(tb, d)
		return made
	default:
		return d.server.database(tb, " TEMPLATE "+d.Name)
	}
}

// fill copies tables and rows from another database of the same MariaDB.
func (d *Database) fill(tb testing.TB, from *Database) {
	tb.Helper()
	db := d.open(tb)
	defer func() { _ = db.Close() }() // the statements have run
	db.SetMaxOpenConns(1)             // keys are not checked on this connection
	exec := func(statement string) {
		tb.Helper()
		if _, err := db.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatalf("sqltest: %s: %v", statement, err)
		}
	}
	exec("SET foreign_key_checks = 0")
	var tables string
	query := "SELECT coalesce(group_concat(table_name), '') FROM information_schema.tables WHERE table_schema = ?"
	if err := db.QueryRowContext(tb.Context(), query, from.Name).Scan(&tables); err != nil {
		tb.Fatalf("sqltest: %v", err)
	}
	for table := range strings.SplitSeq(tables, ",") {
		var create string
		if err := db.QueryRowContext(tb.Context(), "SHOW CREATE TABLE "+from.Name+"."+table).Scan(&table, &create); err != nil {
			tb.Fatalf("sqltest: %v", err)
		}
		exec(create)
		exec("INSERT INTO " + table + " SELECT * FROM " + from.Name + "." + table)
	}
}

// admin runs a statement outside of any test's database.
func (s *Server) admin(tb testing.TB, statement string) {
	tb.Helper()
	(&Database{Dialect: s.dialect, Name: s.kind.admin, server: s}).Exec(tb, statement)
}

// URL is SQLAlchemy's: "postgresql://user:password@127.0.0.1:port/name",
// "mysql+pymysql://…", "sqlite:////path".
func (d *Database) URL() string {
	switch d.Dialect {
	case SQLite:
		return "sqlite:///" + d.Name
	case MySQL:
		return d.url("mysql+pymysql")
	default:
		return d.url("postgresql")
	}
}

func (d *Database) url(scheme string) string {
	return (&url.URL{Scheme: scheme, User: url.UserPassword(account, password), Host: d.server.Addr(), Path: "/" + d.Name}).String()
}

// Django is the database's entry in Django's DATABASES.
func (d *Database) Django() map[string]any {
	if d.Dialect == SQLite {
		return map[string]any{"ENGINE": "django.db.backends.sqlite3", "NAME": d.Name}
	}
	return map[string]any{
		"ENGINE": "django.db.backends." + d.Dialect, "NAME": d.Name, "USER": account, "PASSWORD": password,
		"HOST": "127.0.0.1", "PORT": strconv.Itoa(d.server.port),
	}
}

// Open connects to the database until the test ends.
func (d *Database) Open(tb testing.TB) *sql.DB {
	tb.Helper()
	db := d.open(tb)
	tb.Cleanup(func() { _ = db.Close() }) // what it says is of no interest any more
	return db
}

func (d *Database) open(tb testing.TB) *sql.DB {
	tb.Helper()
	db, err := d.connect()
	if err != nil {
		tb.Fatalf("sqltest: %v", err)
	}
	return db
}

func (d *Database) connect() (*sql.DB, error) {
	var driver, source string
	switch d.Dialect {
	case SQLite:
		driver, source = "sqlite", "file:"+d.Name+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	case MySQL:
		driver, source = "mysql", fmt.Sprintf("%s:%s@tcp(%s)/%s?parseTime=true", account, password, d.server.Addr(), d.Name)
	default:
		driver, source = "pgx", d.url("postgres")
	}
	return sql.Open(driver, source)
}

// Exec runs statements and fails the test if one fails.
func (d *Database) Exec(tb testing.TB, statements ...string) {
	tb.Helper()
	db := d.open(tb)
	defer func() { _ = db.Close() }() // the statements have run
	for _, statement := range statements {
		if _, err := db.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatalf("sqltest: %s: %v", statement, err)
		}
	}
}
