package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
)

const (
	// portion is how many rows are published at a time, at most.
	portion = 100
	// publishWithin bounds how long that may take, and so how long rows are locked.
	publishWithin = 30 * time.Second
	// leaseLasts is for how long rows are held where they cannot be locked.
	leaseLasts = 2 * publishWithin
)

// row is a row of the table.
type row struct {
	id int64
	envelope
	bad error // it cannot be read
}

// claim is rows that nobody else publishes meanwhile.
type claim struct {
	rows []row
	on   Execer
	end  func(ctx context.Context) error // keeps what was done, and gives the other rows back
}

// claim claims the first rows that are free.
func (b *Box) claim(ctx context.Context, db *sql.DB) (*claim, error) {
	if b.dialect == SQLite {
		return b.lease(ctx, db)
	}
	return b.lock(ctx, db)
}

// lock locks rows in a transaction: if this process dies, they are free at once. READ COMMITTED, as MySQL otherwise locks
// what is inserted behind them, too.
func (b *Box) lock(ctx context.Context, db *sql.DB) (*claim, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, err
	}
	c := &claim{on: tx, end: func(context.Context) error { return tx.Commit() }}
	c.rows, err = b.read(ctx, tx, "WHERE refused IS NULL ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED", portion)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return c, nil
}

// lease notes in rows who holds them, and until when: SQLite locks nothing but the whole file, which publishing must not do.
func (b *Box) lease(ctx context.Context, db *sql.DB) (*claim, error) {
	holder, now := protocol.NewID(), time.Now()
	table := b.options.Table
	take := "UPDATE " + table + " SET holder = ?, held_until = ? WHERE id IN (SELECT id FROM " + table +
		" WHERE refused IS NULL AND held_until <= ? ORDER BY id LIMIT ?)"
	if _, err := db.ExecContext(ctx, take, holder, now.Add(leaseLasts).UnixMilli(), now.UnixMilli(), portion); err != nil {
		return nil, err
	}
	c := &claim{on: db, end: func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "UPDATE "+table+" SET holder = NULL, held_until = 0 WHERE holder = ?", holder)
		return err
	}}
	var err error
	if c.rows, err = b.read(ctx, db, "WHERE holder = ? ORDER BY id", holder); err != nil {
		return nil, errors.Join(err, c.end(ctx))
	}
	return c, nil
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (b *Box) read(ctx context.Context, from queryer, where string, args ...any) (rows []row, err error) {
	found, err := from.QueryContext(ctx, b.bind("SELECT id, messages FROM "+b.options.Table+" "+where), args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // what is wrong says Err
	for found.Next() {
		var r row
		var messages []byte
		if err := found.Scan(&r.id, &messages); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(messages, &r.envelope); err != nil {
			r.bad = fmt.Errorf("outbox: read messages: %w", err)
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

// remove deletes rows that are published: each by itself in MySQL, which looks for many by reading the whole table, and so
// runs into the locks of other relays.
func (b *Box) remove(ctx context.Context, c *claim, ids []any) error {
	n := len(ids)
	if b.dialect == MySQL {
		n = 1
	}
	for some := range slices.Chunk(ids, n) {
		list := "?" + strings.Repeat(", ?", len(some)-1)
		if _, err := c.on.ExecContext(ctx, b.bind("DELETE FROM "+b.options.Table+" WHERE id IN ("+list+")"), some...); err != nil {
			return err
		}
	}
	return nil
}

// refuse notes why a row is not published.
func (b *Box) refuse(ctx context.Context, c *claim, id int64, why error) error {
	_, err := c.on.ExecContext(ctx, b.bind("UPDATE "+b.options.Table+" SET refused = ? WHERE id = ?"), why.Error(), id)
	return err
}
