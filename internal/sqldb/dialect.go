package sqldb

import (
	"strconv"
	"strings"
)

// Dialect is a kind of SQL.
type Dialect int

// The dialects.
const (
	PostgreSQL Dialect = iota
	MySQL              // and MariaDB
	SQLite
)

// String returns the dialect as URLs begin with it.
func (d Dialect) String() string { return [...]string{"postgresql", "mysql", "sqlite"}[d] }

// Quote returns a name of a table or column as it stands in a statement. A dot is part of the name.
func (d Dialect) Quote(name string) string {
	if d == MySQL {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// Table returns the name of a table in a schema; "": where connections look first.
func (d Dialect) Table(schema, name string) string {
	if schema == "" {
		return d.Quote(name)
	}
	return d.Quote(schema) + "." + d.Quote(name)
}

// Quoted returns names that are separated by commas.
func (d Dialect) Quoted(names ...string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = d.Quote(name)
	}
	return strings.Join(quoted, ", ")
}

// Placeholder stands for the n-th argument of a statement, counted from 1.
func (d Dialect) Placeholder(n int) string {
	if d == PostgreSQL {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}

// Placeholders returns placeholders for n arguments from the first on, separated by commas.
func (d Dialect) Placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.Placeholder(first + i))
	}
	return b.String()
}

// Bind replaces the question marks of a statement by the dialect's placeholders. They may not stand
// in names and texts.
func (d Dialect) Bind(statement string) string {
	if d != PostgreSQL {
		return statement
	}
	var b strings.Builder
	n := 0
	for i := range len(statement) {
		if statement[i] == '?' {
			n++
			b.WriteString(d.Placeholder(n))
		} else {
			b.WriteByte(statement[i])
		}
	}
	return b.String()
}

// OnConflict begins what an INSERT does where a row with that key is: SET's assignments follow.
func (d Dialect) OnConflict(key string) string {
	if d == MySQL {
		return "ON DUPLICATE KEY UPDATE"
	}
	return "ON CONFLICT (" + d.Quote(key) + ") DO UPDATE SET"
}

// Inserted is a column's value that the INSERT brought, within what follows OnConflict.
func (d Dialect) Inserted(column string) string {
	if d == MySQL {
		return "VALUES(" + d.Quote(column) + ")"
	}
	return "excluded." + d.Quote(column)
}

// ForUpdate ends a SELECT that locks its rows; SQLite's transactions lock the whole file.
func (d Dialect) ForUpdate() string {
	if d == SQLite {
		return ""
	}
	return " FOR UPDATE"
}
