//go:build nosqlite

package sqldb

import (
	"database/sql/driver"
	"errors"
)

// sqliteDriver opens nothing: SQLite was left out.
func sqliteDriver() driver.Driver { return leftOut{} }

type leftOut struct{}

// Open implements driver.Driver.
func (leftOut) Open(string) (driver.Conn, error) {
	return nil, errors.New("this program was built without SQLite (go build -tags nosqlite)")
}

func sqliteErrorOf(error) (sqliteError, bool) { return sqliteError{}, false }
