package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// Trouble says what an error of a database comes from.
type Trouble int

// The kinds of trouble.
const (
	// Other is all that is not below: a table that is missing, say, or a right.
	Other Trouble = iota
	// Conflict is with others who write at the same time: the same again may work at once.
	Conflict
	// Away is a database that cannot be reached, or whose connection broke.
	Away
	// Value is about what was to be written: it does not fit, and never will.
	Value
	// Refusal is the server's: a wrong password, or a database that is not there.
	Refusal
)

// TroubleOf tells what an error comes from.
func TroubleOf(err error) Trouble {
	var postgres *pgconn.PgError
	var my *mysql.MySQLError
	lite, isLite := sqliteErrorOf(err)
	var network net.Error
	var connecting *pgconn.ConnectError
	switch {
	case err == nil:
		return Other
	case errors.As(err, &postgres):
		return postgresTrouble(postgres.Code)
	case errors.As(err, &my):
		return mysqlTrouble(my.Number)
	case isLite:
		return lite.trouble
	case errors.Is(err, mysql.ErrPktTooLarge):
		return Value
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.As(err, &network), errors.As(err, &connecting):
		return Away
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Other
	case strings.Contains(err.Error(), "conn closed"): // pgx, of a connection it has given up
		return Away
	}
	return Other
}

// postgresTrouble knows the classes of appendix A of PostgreSQL's manual.
func postgresTrouble(code string) Trouble {
	switch {
	case slices.Contains([]string{"40001", "40P01", "55P03", "40003"}, code):
		return Conflict
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), code == "53300", code == "25006":
		return Away
	case strings.HasPrefix(code, "28"), code == "3D000":
		return Refusal
	case strings.HasPrefix(code, "22"), code == "54000", code == "23502", code == "23514":
		return Value
	}
	return Other
}

func mysqlTrouble(number uint16) Trouble {
	switch number {
	case 1213, 1205, 1020: // deadlock, lock wait timeout, record has changed since last read
		return Conflict
	case 1040, 1053, 1077, 1079, 1080, 1158, 1159, 1160, 1161, 1203, 1290, 1317, 1792, 1836, 1927, 3168:
		return Away // too many connections, shutdown, network, read only, killed
	case 1153, 1264, 1265, 1292, 1300, 1366, 1406, 3140, 3854, 4025:
		return Value // packet, range, truncated, incorrect value, invalid characters, too long, constraint
	case 1044, 1045, 1049, 1251, 1698: // access denied, unknown database
		return Refusal
	}
	return Other
}

// sqliteError is what matters of an error of SQLite's.
type sqliteError struct {
	trouble            Trouble
	duplicate, noTable bool
}

// Duplicate tells whether a row with the same unique key is there.
func Duplicate(err error) bool {
	var postgres *pgconn.PgError
	var my *mysql.MySQLError
	lite, isLite := sqliteErrorOf(err)
	switch {
	case errors.As(err, &postgres):
		return postgres.Code == "23505"
	case errors.As(err, &my):
		return my.Number == 1062
	case isLite:
		return lite.duplicate
	}
	return false
}

// NoTable tells whether a table, schema or sequence is missing.
func NoTable(err error) bool {
	var postgres *pgconn.PgError
	var my *mysql.MySQLError
	lite, isLite := sqliteErrorOf(err)
	switch {
	case errors.As(err, &postgres):
		return postgres.Code == "42P01" || postgres.Code == "3F000"
	case errors.As(err, &my):
		return my.Number == 1146
	case isLite:
		return lite.noTable
	}
	return false
}
