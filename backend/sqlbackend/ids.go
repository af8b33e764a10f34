package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/apium/apium/internal/sqldb"
)

// In MySQL each row of an upsert takes an id, also those that are there. So it is asked first which are, and they are
// told the id that they have: a task takes one, as with Django.

// idsThere are the ids of rows that are there, by key.
func (b *Backend) idsThere(ctx context.Context, from querier, p *prepared, rows []*row) (ids map[string]int64, err error) {
	d := b.db.Dialect
	keys := make([]string, len(rows))
	for i, r := range rows {
		keys[i] = r.id
	}
	where, args := in(d, p.key, keys)
	found, err := from.QueryContext(ctx, "SELECT "+d.Quoted("id", p.key)+" FROM "+p.full(d)+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var id int64
		var key string
		if err := found.Scan(&id, &key); err != nil {
			return nil, err
		}
		if ids == nil {
			ids = make(map[string]int64, len(rows))
		}
		ids[key] = id
	}
	return ids, found.Err()
}

// apart divides rows into those that have an id, and others.
func apart(rows []*row, ids map[string]int64) (there, fresh []*row) {
	if len(ids) == 0 {
		return nil, rows
	}
	for _, r := range rows {
		if _, ok := ids[r.id]; ok {
			there = append(there, r)
		} else {
			fresh = append(fresh, r)
		}
	}
	return there, fresh
}

// idOf is the expression for the column id of new rows; "": the database finds it by itself. SQLAlchemy takes it
// from a sequence. PostgreSQL is told where it comes from, so that a row that is there takes none: Django's ids may
// have only 32 bits.
func (b *Backend) idOf(ctx context.Context, t *table) (string, error) {
	d := b.db.Dialect
	switch {
	case d == sqldb.PostgreSQL:
		return b.postgresID(ctx, t)
	case d == sqldb.SQLite, t.sequence == "":
		return "", nil
	}
	var byItself bool
	err := b.db.QueryRowContext(ctx, "SELECT extra LIKE '%auto_increment%' OR column_default IS NOT NULL FROM information_schema.columns "+
		"WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ? AND column_name = 'id'", t.schema, t.name).Scan(&byItself)
	if err != nil || byItself {
		return "", err
	}
	return "NEXT VALUE FOR " + d.Table(t.schema, t.sequence), nil
}

func (b *Backend) postgresID(ctx context.Context, t *table) (string, error) {
	d := b.db.Dialect
	full := t.full(d)
	var byItself bool
	var sequence sql.NullString // that it comes from, if this user may
	err := b.db.QueryRowContext(ctx, "SELECT atthasdef OR attidentity <> '', (SELECT s FROM pg_get_serial_sequence($1, 'id') AS s "+
		"WHERE attidentity <> 'a' AND has_sequence_privilege(s, 'USAGE')) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'id'", full).
		Scan(&byItself, &sequence)
	switch {
	case errors.Is(err, sql.ErrNoRows) && t.sequence == "": // a table without that column
		return "", nil
	case err != nil:
		return "", err
	case sequence.Valid:
	case byItself || t.sequence == "":
		return "", nil
	default:
		sequence.String = d.Table(t.schema, t.sequence)
	}
	return "nextval('" + strings.ReplaceAll(sequence.String, "'", "''") + "')", nil
}

// idUnlessThere is, in PostgreSQL's upsert, the id of the row that is there, and a new one if there is none.
func idUnlessThere(d sqldb.Dialect, p *prepared) string {
	key := slices.IndexFunc(p.columns, func(c column) bool { return c.name == p.key })
	return "COALESCE((SELECT there.id FROM " + p.full(d) + " AS there WHERE there." + d.Quote(p.key) + " = u.c" + strconv.Itoa(key+1) + "), " + p.id + ")"
}
