package sqlbackend

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/sqldb"
)

// maxStatement is how much one statement carries at most, unless one row alone is larger: servers
// limit it, MariaDB to 16 MiB.
const maxStatement = 4 << 20

// Store implements backend.Store. Records of one task that come in one call are stored as the last
// of them would be.
func (b *Backend) Store(ctx context.Context, records ...backend.Record) error {
	if len(records) == 0 {
		return b.closed()
	}
	t, err := b.tables(ctx)
	if err != nil {
		return err
	}
	rows, refused := b.rows(records)
	more, err := b.store(ctx, &t.tasks, rows)
	if err := b.said(err); err != nil {
		return err
	}
	b.polls.look(rows)
	return errors.Join(append(refused, more...)...)
}

func (b *Backend) closed() error {
	if b.closing.Err() != nil {
		return backend.ErrClosed
	}
	return nil
}

// rows takes records apart. refused is about single ones.
func (b *Backend) rows(records []backend.Record) (rows []*row, refused []error) {
	now := time.Now()
	rows = make([]*row, 0, len(records))
	for _, record := range records {
		r, err := b.row(record, now)
		if err != nil {
			refused = append(refused, &backend.RecordError{TaskID: record.TaskID, Err: err})
			continue
		}
		rows = append(rows, r)
	}
	return merge(rows), refused
}

// store writes rows of different keys in as few statements as it may. refused is about single ones.
func (b *Backend) store(ctx context.Context, p *prepared, rows []*row) (refused []error, err error) {
	for len(rows) > 0 {
		n, size := 0, 0
		for n < len(rows) && n < p.upsert.most() && (n == 0 || size+rows[n].size() <= maxStatement) {
			size += rows[n].size()
			n++
		}
		errs, err := b.storeGroup(ctx, p, rows[:n])
		if err != nil {
			return nil, err
		}
		refused = append(refused, errs...)
		rows = rows[n:]
	}
	return refused, nil
}

// storeGroup writes rows in one statement.
func (b *Backend) storeGroup(ctx context.Context, p *prepared, rows []*row) (refused []error, err error) {
	return byHalves(rows, (*row).itself, func(rows []*row) error { return b.write(ctx, p, rows) })
}

// byHalves does something with all items at once. If the row of one does not fit, that is looked for by
// halves, and it is done with all others; refused is about those that do not.
func byHalves[T any](items []T, rowOf func(T) *row, do func([]T) error) (refused []error, err error) {
	err = do(items)
	switch {
	case sqldb.TroubleOf(err) != sqldb.Value:
		return nil, err
	case len(items) > 1:
		for _, half := range [][]T{items[:len(items)/2], items[len(items)/2:]} {
			errs, err := byHalves(half, rowOf, do)
			if err != nil {
				return nil, err
			}
			refused = append(refused, errs...)
		}
		return refused, nil
	case rowOf(items[0]).simplify():
		return byHalves(items, rowOf, do)
	default:
		return []error{&backend.RecordError{TaskID: rowOf(items[0]).id, Err: err}}, nil
	}
}

func (r *row) itself() *row { return r }

// write writes rows in one statement, or on MySQL in two: one for those that are there.
func (b *Backend) write(ctx context.Context, p *prepared, rows []*row) error {
	u := p.upsert
	if u.renewed != "" {
		return b.db.Retry(ctx, func(ctx context.Context) error { return b.put(ctx, b.db, p, rows) })
	}
	args := u.arguments(b.db, &b.codec, rows)
	exec := func(statement string) error {
		return b.db.Retry(ctx, func(ctx context.Context) error {
			_, err := b.db.ExecContext(ctx, statement, args...)
			return err
		})
	}
	if u.sparing != "" {
		// Two who write over one row at once may both try to insert its id.
		if err := exec(u.sparing + u.tail); !sqldb.Duplicate(err) {
			return err
		}
	}
	return exec(u.text(len(rows)))
}

// put writes rows once.
func (b *Backend) put(ctx context.Context, into querier, p *prepared, rows []*row) error {
	u := p.upsert
	switch {
	case u.renewed == "":
	case len(rows) == 1: // in one round trip; of several rows that may or may not be there, each would take an id
		_, err := into.ExecContext(ctx, u.single, append([]any{rows[0].id}, u.arguments(b.db, &b.codec, rows)...)...)
		return err
	default:
		ids, err := b.idsThere(ctx, into, p, rows)
		if err != nil {
			return err
		}
		there, fresh := apart(rows, ids)
		if len(there) > 0 {
			statement, args := u.renewal(b.db, &b.codec, there, ids)
			if _, err := into.ExecContext(ctx, statement, args...); err != nil {
				return err
			}
		}
		if rows = fresh; len(rows) == 0 {
			return nil
		}
	}
	_, err := into.ExecContext(ctx, u.text(len(rows)), u.arguments(b.db, &b.codec, rows)...)
	return err
}

// size is about how large a row is.
func (r *row) size() int {
	n := 256 + len(r.result) + len(r.meta) + len(r.children) + len(r.args) + len(r.kwargs) + len(r.argsRepr) + len(r.kwargsRepr) + len(r.stamps)
	if r.traceback != nil {
		n += len(*r.traceback)
	}
	return n
}

// simplify writes texts in ASCII that are for people to read: tables of MySQL may not have every
// character, and none has a 0. If they are, only the end of a long traceback is left. It tells
// whether there was anything to do.
func (r *row) simplify() bool {
	texts := []*string{&r.name, &r.worker, &r.queue, &r.periodic}
	if r.traceback != nil {
		texts = append(texts, r.traceback)
	}
	changed := false
	for _, s := range texts {
		if simple := ascii(*s); simple != *s {
			*s, changed = simple, true
		}
	}
	if r.traceback == nil || changed {
		return changed
	}
	n := len(*r.traceback) - longTraceback
	if n > 0 {
		end := (*r.traceback)[n:]
		r.traceback = &end
	}
	return n > 0
}

// longTraceback is what fits a TEXT of MySQL's.
const longTraceback = 65_535

// ascii writes what is no ASCII, and 0, as escapes.
func ascii(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c == 0 || c >= utf8.RuneSelf }) {
		return s
	}
	var escaped []byte
	for _, c := range s {
		if c == 0 || c >= utf8.RuneSelf {
			quoted := strconv.AppendQuoteRuneToASCII(nil, c)
			escaped = append(escaped, quoted[1:len(quoted)-1]...)
		} else {
			escaped = utf8.AppendRune(escaped, c)
		}
	}
	return string(escaped)
}
