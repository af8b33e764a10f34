package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/sqldb"
)

// cleanupGroup is how many rows are deleted at a time: nobody waits long for locks, and a slow database has the time for them.
const cleanupGroup = 1_000

var _ backend.Cleaner = (*Backend)(nil)

// Cleanup implements backend.Cleaner. The counters of chords have no date, and stay as in Celery,
// but for those of chords whose body was published by somebody who died before deleting the row.
func (b *Backend) Cleanup(ctx context.Context) (deleted int64, err error) {
	if b.expires <= 0 {
		return 0, b.closed()
	}
	t, err := b.tables(ctx)
	if err != nil {
		return 0, err
	}
	before := time.Now().Add(-b.expires)
	for _, p := range []*prepared{&t.tasks, &t.groups} {
		if p.absent != nil {
			continue
		}
		for n := int64(cleanupGroup); n == cleanupGroup; {
			if n, err = b.deleteOld(ctx, p, before); err != nil {
				return deleted, b.said(err)
			}
			deleted += n
		}
	}
	if b.layout.kind == Django {
		err = b.deleteClaims(ctx, before)
	}
	return deleted, b.chordsSaid(err)
}

// deleteOld deletes rows that were written before a time, up to a group of them.
func (b *Backend) deleteOld(ctx context.Context, p *prepared, before time.Time) (n int64, err error) {
	d := b.db.Dialect
	statement := "DELETE FROM " + p.full(d) + " WHERE id IN (SELECT id FROM " + p.full(d) + " WHERE date_done < ? ORDER BY id LIMIT ?)"
	if d == sqldb.MySQL { // which has no LIMIT in such a place, but here
		statement = "DELETE FROM " + p.full(d) + " WHERE date_done < ? ORDER BY id LIMIT ?"
	}
	err = b.db.Retry(ctx, func(ctx context.Context) error {
		result, err := b.db.ExecContext(ctx, d.Bind(statement), b.db.Date(before), cleanupGroup)
		if err == nil {
			n, err = result.RowsAffected()
		}
		return err
	})
	return n, err
}

// deleteClaims deletes the counters of complete chords whose last claim ran out before a time.
func (b *Backend) deleteClaims(ctx context.Context, before time.Time) error {
	d := b.db.Dialect
	count := d.Quote("count")
	return b.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		old, err := b.oldClaims(ctx, tx, before)
		if err != nil {
			return err
		}
		for ids := range slices.Chunk(old, readGroup) {
			where, args := in(d, chordTable.key, ids)
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+chordTable.full(d)+" WHERE "+count+" = 0 AND "+where, args...); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *Backend) oldClaims(ctx context.Context, tx querier, before time.Time) (ids []string, err error) {
	d := b.db.Dialect
	rows, err := tx.QueryContext(ctx, "SELECT group_id, sub_tasks FROM "+chordTable.full(d)+" WHERE "+d.Quote("count")+" = 0"+d.ForUpdate())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		var text []byte
		if err := rows.Scan(&id, &text); err != nil {
			return nil, err
		}
		if claim, err := decodeClaim(text); err == nil && claim.Until < before.UnixMilli() {
			ids = append(ids, id)
		}
	}
	return ids, rows.Err()
}
