package sqlbackend

import (
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/protocol"
)

// upsert is the statement that stores rows: it inserts them, or writes over those that are there
// and are no SUCCESS.
type upsert struct {
	dialect sqldb.Dialect
	columns []column
	head    string // up to VALUES
	sparing string // instead of head where rows that are there take no id; "": they do
	renewed string // instead of head for rows that bring the id that they have; "": the table has none, or needs none
	single  string // the whole statement for one row that finds its id by itself; its first argument is the key
	one     string // the values of one row
	tail    string
}

func newUpsert(d sqldb.Dialect, p *prepared) *upsert {
	u := &upsert{dialect: d, columns: p.columns}
	names := make([]string, 0, len(p.columns)+1)
	values := make([]string, 0, len(p.columns)+1)
	if p.id != "" {
		names, values = append(names, d.Quote("id")), append(values, p.id)
	}
	for i, c := range p.columns {
		names = append(names, d.Quote(c.name))
		if d == sqldb.PostgreSQL {
			values = append(values, "u.c"+d.Placeholder(i + 1)[1:])
		} else {
			values = append(values, "?")
		}
	}
	u.head = "INSERT INTO " + p.full(d) + " AS t (" + strings.Join(names, ", ") + ") "
	if d == sqldb.MySQL {
		u.head = "INSERT INTO " + p.full(d) + " (" + strings.Join(names, ", ") + ") "
	}
	switch d {
	case sqldb.PostgreSQL: // one statement, whatever the number of rows
		arrays, aliases := make([]string, len(p.columns)), make([]string, len(p.columns))
		for i, c := range p.columns {
			arrays[i] = d.Placeholder(i+1) + "::" + c.kind.postgres() + "[]"
			aliases[i] = "c" + d.Placeholder(i + 1)[1:]
		}
		from := " FROM unnest(" + strings.Join(arrays, ", ") + ") AS u (" + strings.Join(aliases, ", ") + ")"
		if p.id != "" {
			u.sparing = u.head + "SELECT " + strings.Join(slices.Concat([]string{idUnlessThere(d, p)}, values[1:]), ", ") + from
		}
		u.head += "SELECT " + strings.Join(values, ", ") + from
	default:
		u.head += "VALUES "
		u.one = "(" + strings.Join(values, ", ") + ")"
		if d == sqldb.MySQL && p.numbered {
			u.renewed = "INSERT INTO " + p.full(d) + " (" + d.Quote("id") + ", " + strings.Join(names[len(names)-len(p.columns):], ", ") + ") VALUES "
		}
	}
	u.tail = " " + d.OnConflict(p.key) + " " + strings.Join(assignments(d, p), ", ")
	if p.has("status") && d != sqldb.MySQL {
		u.tail += " WHERE t.status <> '" + string(protocol.Success) + "'"
	}
	if u.renewed != "" {
		own := strings.TrimSuffix("COALESCE((SELECT id FROM (SELECT id FROM "+p.full(d)+" WHERE "+d.Quote(p.key)+" = ? LIMIT 1) AS there), "+p.id, ", ") + ")"
		u.single = u.renewed + "(" + own + ", " + d.Placeholders(1, len(p.columns)) + ")" + u.tail
	}
	return u
}

// assignments are what becomes of a row that is there.
func assignments(d sqldb.Dialect, p *prepared) (list []string) {
	last := ""
	for _, c := range p.columns {
		if c.name == p.key || c.set == kept {
			continue
		}
		name, value := d.Quote(c.name), d.Inserted(c.name)
		present := "t." + name
		if d == sqldb.MySQL {
			present = name
		}
		if c.set == filled {
			value = "COALESCE(" + value + ", " + present + ")"
		}
		if d == sqldb.MySQL && p.has("status") {
			value = "IF(status = '" + string(protocol.Success) + "', " + present + ", " + value + ")"
		}
		if c.name == "status" { // MySQL assigns in order: what is asked of status comes before
			last = name + " = " + value
			continue
		}
		list = append(list, name+" = "+value)
	}
	if last != "" {
		list = append(list, last)
	}
	return list
}

// most is how many rows one statement takes. SQLite takes 32,766 arguments, MySQL 65,535.
func (u *upsert) most() int {
	if u.dialect == sqldb.PostgreSQL {
		return 1000
	}
	return 400
}

// text is the statement for so many rows.
func (u *upsert) text(rows int) string {
	if u.dialect == sqldb.PostgreSQL {
		return u.head + u.tail
	}
	return u.repeat(u.head, u.one, rows)
}

func (u *upsert) repeat(head, one string, rows int) string {
	var b strings.Builder
	b.Grow(len(head) + rows*(len(one)+1) + len(u.tail))
	b.WriteString(head)
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(one)
	}
	b.WriteString(u.tail)
	return b.String()
}

// arguments are those of the statement.
func (u *upsert) arguments(db *sqldb.DB, c *codec, rows []*row) []any {
	if u.dialect == sqldb.PostgreSQL {
		return u.arrays(c, rows)
	}
	args := make([]any, 0, len(rows)*len(u.columns))
	for _, r := range rows {
		args = u.appendRow(args, db, c, r)
	}
	return args
}

func (u *upsert) appendRow(args []any, db *sqldb.DB, c *codec, r *row) []any {
	for i := range u.columns {
		value := u.columns[i].of(c, r)
		if t, ok := value.(time.Time); ok {
			value = db.Date(t)
		}
		args = append(args, value)
	}
	return args
}

// renewal is the statement for rows that have these ids, and its arguments.
func (u *upsert) renewal(db *sqldb.DB, c *codec, rows []*row, ids map[string]int64) (statement string, args []any) {
	args = make([]any, 0, len(rows)*(len(u.columns)+1))
	for _, r := range rows {
		args = u.appendRow(append(args, ids[r.id]), db, c, r)
	}
	return u.repeat(u.renewed, "("+u.dialect.Placeholders(1, len(u.columns)+1)+")", len(rows)), args
}

// arrays has one argument for each column.
func (u *upsert) arrays(c *codec, rows []*row) []any {
	args := make([]any, len(u.columns))
	for i := range u.columns {
		of := u.columns[i].of
		switch u.columns[i].kind {
		case text:
			args[i] = array(rows, func(r *row) *string {
				if s, ok := of(c, r).(string); ok {
					return &s
				}
				return nil
			})
		case bytea:
			args[i] = array(rows, func(r *row) []byte {
				value, _ := of(c, r).([]byte)
				return value
			})
		case integer:
			args[i] = array(rows, func(r *row) *int64 {
				if n, ok := of(c, r).(int64); ok {
					return &n
				}
				return nil
			})
		case date:
			args[i] = array(rows, func(r *row) *time.Time {
				t, _ := of(c, r).(time.Time)
				if t.IsZero() {
					return nil
				}
				t = t.UTC().Truncate(time.Microsecond)
				return &t
			})
		}
	}
	return args
}

func array[T any](rows []*row, of func(*row) T) []T {
	values := make([]T, len(rows))
	for i, r := range rows {
		values[i] = of(r)
	}
	return values
}
