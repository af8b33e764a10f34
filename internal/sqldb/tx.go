package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	// txAttempts is how often a transaction is tried that is in conflict with others.
	txAttempts = 8
	// txTimeout is how long a transaction may take: a server that answers no more is away.
	txTimeout = 60 * time.Second
)

// Tx runs do in a transaction, which sees what others have committed (READ COMMITTED), and again
// when it was in conflict with others: a deadlock, say. do must have no other effects.
func (db *DB) Tx(ctx context.Context, do func(ctx context.Context, tx *sql.Tx) error) error {
	return db.Retry(ctx, func(ctx context.Context) (err error) {
		tx, err := db.BeginTx(ctx, db.isolation())
		if err != nil {
			return err
		}
		if err := do(ctx, tx); err != nil {
			return errors.Join(err, ended(tx.Rollback()))
		}
		return tx.Commit()
	})
}

// ended leaves out what is said of a transaction that has ended with its connection.
func ended(err error) error {
	if errors.Is(err, sql.ErrTxDone) || TroubleOf(err) == Away {
		return nil
	}
	return err
}

// isolation is the one that costs no statement of its own.
func (db *DB) isolation() *sql.TxOptions {
	if db.Dialect == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil // MySQL's connections begin with it; SQLite knows one writer at a time
}

// Retry does something again when it was in conflict with others.
func (db *DB) Retry(ctx context.Context, do func(ctx context.Context) error) error {
	wait := 5 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := bounded(ctx, do)
		if err == nil || attempt == txAttempts || TroubleOf(err) != Conflict {
			return err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return err
		}
		wait *= 2
	}
}

func bounded(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	return do(ctx)
}
