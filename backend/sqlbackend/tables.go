package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/sqldb"
)

// tables are the tables as they are in the database.
type tables struct {
	tasks, groups prepared
	reads         []string // the columns of tasks that Load reads
}

// prepared is a table with the columns that it has.
type prepared struct {
	*table
	columns  []column
	numbered bool   // there is a column id
	id       string // the expression for it; "": it has a default
	upsert   *upsert
	absent   error // why it cannot be used, if it can be done without
}

// has tells whether there is a column.
func (p *prepared) has(name string) bool {
	return slices.ContainsFunc(p.columns, func(c column) bool { return c.name == name })
}

// tables looks at the tables, once, and makes what is missing if it is not Django's.
func (b *Backend) tables(ctx context.Context) (*tables, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.prepared != nil {
		return b.prepared, nil
	}
	var t tables
	for _, one := range []struct {
		table *table
		into  *prepared
	}{{&b.layout.tasks, &t.tasks}, {&b.layout.groups, &t.groups}} {
		p, err := b.prepare(ctx, one.table)
		switch {
		case err == nil:
		case errors.Is(err, errUnusable) && b.layout.kind == Django && one.into == &t.groups: // django-celery-results before 2.1 has none
			p = &prepared{table: one.table, absent: err}
		default:
			return nil, b.said(err)
		}
		*one.into = *p
	}
	t.reads = reads(&t.tasks)
	b.prepared = &t
	return b.prepared, nil
}

// unusable is an error about tables that have to be mended first.
func unusable(format string, args ...any) error {
	return fmt.Errorf("%s%w", fmt.Sprintf(format, args...), errUnusable)
}

// prepare finds out what columns a table has.
func (b *Backend) prepare(ctx context.Context, t *table) (*prepared, error) {
	found, err := b.columns(ctx, t)
	if sqldb.NoTable(err) {
		if b.layout.kind == Django {
			return nil, unusable("there is no table %s: run \"python manage.py migrate django_celery_results\"", t.name)
		}
		if err := b.create(ctx, t); err != nil {
			return nil, err
		}
		found, err = b.columns(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	if slices.Contains(found, "hidden") {
		return nil, unusable("the table %s is the old djcelery's: name another with database_table_names", t.name)
	}
	p := &prepared{table: t, numbered: slices.Contains(found, "id")}
	for _, c := range t.columns {
		if !slices.Contains(found, c.name) && (!c.added || b.layout.kind == Django || !b.add(ctx, t, c)) {
			if c.added {
				continue
			}
			return nil, unusable("the table %s has no column %s", t.name, c.name)
		}
		p.columns = append(p.columns, c)
	}
	if p.id, err = b.idOf(ctx, t); err != nil {
		return nil, err
	}
	p.upsert = newUpsert(b.db.Dialect, p)
	return p, nil
}

func (b *Backend) columns(ctx context.Context, t *table) ([]string, error) {
	rows, err := b.db.QueryContext(ctx, "SELECT * FROM "+t.full(b.db.Dialect)+" WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	names, err := rows.Columns()
	return names, errors.Join(err, rows.Close(), rows.Err())
}

// add adds a column to a table that an older release has made, as Celery 5.7 does. Without the right
// to, it stays missing.
func (b *Backend) add(ctx context.Context, t *table, c column) bool {
	statement := "ALTER TABLE " + t.full(b.db.Dialect) + " ADD COLUMN " + b.db.Dialect.Quote(c.name) + " " + sqlalchemyType(b.db.Dialect, c)
	_, err := b.db.ExecContext(ctx, statement)
	if err == nil {
		return true
	}
	if found, err := b.columns(ctx, t); err == nil && slices.Contains(found, c.name) {
		return true // somebody else was faster
	}
	b.log.Warn(fmt.Sprintf("The table %s has no column %s, and it cannot be added: %v. Until somebody does, it is not kept: %s", t.name, c.name, err, statement),
		logline.EventKey, "A column cannot be added", "table", t.name, "column", c.name, "error", err)
	return false
}

// create makes a table as SQLAlchemy does.
func (b *Backend) create(ctx context.Context, t *table) error {
	d := b.db.Dialect
	columns := []string{"id INTEGER NOT NULL"}
	sequences := d == sqldb.PostgreSQL
	switch d {
	case sqldb.MySQL:
		if err := b.db.QueryRowContext(ctx, "SELECT VERSION() LIKE '%MariaDB%'").Scan(&sequences); err != nil {
			return err
		}
		if !sequences {
			columns[0] += " AUTO_INCREMENT"
		}
	case sqldb.SQLite:
		columns[0] += " PRIMARY KEY AUTOINCREMENT"
	case sqldb.PostgreSQL:
	}
	for _, c := range t.columns {
		columns = append(columns, d.Quote(c.name)+" "+sqlalchemyType(d, c))
	}
	if d != sqldb.SQLite {
		columns = append(columns, "PRIMARY KEY (id)")
	}
	columns = append(columns, "UNIQUE ("+d.Quote(t.key)+")")
	index := "ix_" + t.name + "_date_done"
	if d == sqldb.MySQL {
		columns = append(columns, "INDEX "+d.Quote(index)+" (date_done)")
	}
	statements := []string{"CREATE TABLE IF NOT EXISTS " + t.full(d) + " (" + strings.Join(columns, ", ") + ")"}
	if sequences {
		statements = append(statements, "CREATE SEQUENCE IF NOT EXISTS "+d.Table(t.schema, t.sequence))
	}
	if d == sqldb.SQLite && t.schema != "" {
		index = t.schema + "." + index
	}
	if d != sqldb.MySQL {
		statements = append(statements, "CREATE INDEX IF NOT EXISTS "+d.Quote(index)+" ON "+t.full(d)+" (date_done)")
	}
	return b.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if d == sqldb.PostgreSQL { // IF NOT EXISTS alone is a race
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtext('apium: tables of results'))"); err != nil {
				return err
			}
		}
		for _, s := range statements {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
}

// sqlalchemyType is the type that SQLAlchemy gives a column of the models.
func sqlalchemyType(d sqldb.Dialect, c column) string {
	switch c.kind {
	case bytea:
		if d == sqldb.PostgreSQL {
			return "BYTEA"
		}
		return "BLOB"
	case integer:
		return "INTEGER"
	case date:
		if d == sqldb.PostgreSQL {
			return "TIMESTAMP WITHOUT TIME ZONE"
		}
		return "DATETIME"
	default:
		switch c.name {
		case "traceback":
			return "TEXT"
		case "status":
			return "VARCHAR(50)"
		}
		return "VARCHAR(155)"
	}
}
