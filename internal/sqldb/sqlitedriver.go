//go:build !nosqlite

package sqldb

import (
	"database/sql/driver"
	"errors"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteDriver opens files. Programs that are built with the tag nosqlite have none, and are 7 MB smaller.
func sqliteDriver() driver.Driver { return &sqlite.Driver{} }

// sqliteErrorOf is an error of SQLite's, if it is one.
func sqliteErrorOf(err error) (e sqliteError, is bool) {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return sqliteError{}, false
	}
	code := lite.Code()
	e = sqliteError{
		duplicate: code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
		noTable:   strings.Contains(lite.Error(), "no such table"),
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		e.trouble = Conflict
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL:
		e.trouble = Away
	case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		e.trouble = Value
	}
	return e, true
}
