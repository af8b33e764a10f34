package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/protocol"
)

// chordTable is where django-celery-results counts (models.py: ChordCounter): which tasks a header
// consists of, and how many parts are missing. Python deletes the row when it counts the last one,
// and then runs the body; should it die in between, nobody does. Here the row stays until the body is
// published, with a count of 0, which Python cannot count on from, and a claim beside the members.
var chordTable = table{name: "django_celery_results_chordcounter", key: "group_id"}

// chordLease is how long a claim on a chord's body lasts.
const chordLease = 10 * time.Second

var (
	_ backend.Chords      = (*Backend)(nil)
	_ backend.ChordLists  = (*Backend)(nil)
	_ backend.ChordPoller = (*Backend)(nil)
)

// PollsChords implements backend.ChordPoller: SQLAlchemy's tables have no counters.
func (b *Backend) PollsChords() bool { return b.layout.kind == SQLAlchemy }

// ListChord implements backend.ChordLists.
func (b *Backend) ListChord(ctx context.Context, groupID string, size int, members []byte) error {
	d := b.db.Dialect
	there := " ON CONFLICT (group_id) DO NOTHING"
	if d == sqldb.MySQL {
		there = " ON DUPLICATE KEY UPDATE group_id = group_id"
	}
	statement := d.Bind("INSERT INTO " + chordTable.full(d) + " (" + d.Quoted("group_id", "sub_tasks", "count") + ") VALUES (?, ?, ?)" + there)
	return b.chordsSaid(b.db.Retry(ctx, func(ctx context.Context) error {
		_, err := b.db.ExecContext(ctx, statement, groupID, string(members), size)
		return err
	}))
}

// chordsSaid is said of an error about the table of chords.
func (b *Backend) chordsSaid(err error) error {
	if sqldb.NoTable(err) {
		err = unusable("there is no table %s: run \"python manage.py migrate django_celery_results\"", chordTable.name)
	}
	return b.said(err)
}

// chordPart is a part that is counted, with its task's row.
type chordPart struct {
	backend.ChordPart
	row    *row
	given  bool // the row comes from a record; else it is only for a result that is ignored
	answer *backend.ChordCount
}

// Count implements backend.Chords. A part that counts is one whose task had not ended before: that
// is seen in the transaction that stores its record.
func (b *Backend) Count(ctx context.Context, parts ...backend.ChordPart) ([]backend.ChordCount, error) {
	t, err := b.tables(ctx)
	if err != nil {
		return nil, err
	}
	counts := make([]backend.ChordCount, len(parts))
	var group []*chordPart
	var refused []error
	size := 0
	count := func() error {
		errs, err := b.countGroup(ctx, t, group)
		refused, group, size = append(refused, errs...), nil, 0
		return b.chordsSaid(err)
	}
	for i := range parts {
		p, err := b.chordPart(parts[i])
		if err != nil {
			refused = append(refused, &backend.RecordError{TaskID: parts[i].TaskID, Err: err})
			continue
		}
		if len(group) == t.tasks.upsert.most() || len(group) > 0 && size+p.row.size() > maxStatement {
			if err := count(); err != nil {
				return nil, err
			}
		}
		p.answer = &counts[i]
		group, size = append(group, p), size+p.row.size()
	}
	if len(group) > 0 {
		if err := count(); err != nil {
			return nil, err
		}
	}
	return counts, errors.Join(refused...)
}

// chordPart makes the row of a part. A result that is ignored is kept nevertheless, as the body is
// to get it.
func (b *Backend) chordPart(part backend.ChordPart) (*chordPart, error) {
	p := &chordPart{ChordPart: part, given: part.Record != nil}
	record := part.Record
	if record == nil {
		result := protocol.Result{State: part.State, Result: part.Result, TaskID: part.TaskID, DateDone: time.Now()}
		record = &backend.Record{TaskID: part.TaskID, Document: result.Append(nil)}
	}
	var err error
	p.row, err = b.row(*record, time.Now())
	return p, err
}

// countGroup counts parts in one transaction.
func (b *Backend) countGroup(ctx context.Context, t *tables, parts []*chordPart) (refused []error, err error) {
	return byHalves(parts, func(p *chordPart) *row { return p.row }, func(parts []*chordPart) error {
		var c *counting
		err := b.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			c = &counting{b: b, t: t, tx: tx, parts: parts}
			return c.run(ctx)
		})
		if err == nil {
			c.answer()
			b.polls.look(c.rows)
		}
		return err
	})
}

// Renew implements backend.Chords.
func (b *Backend) Renew(ctx context.Context, claim backend.ChordClaim, lease time.Duration) error {
	return b.claimed(ctx, claim, func(ctx context.Context, tx querier, held *chordClaim, now int64) error {
		held.Until = now + lease.Milliseconds()
		return b.updateChord(ctx, tx, claim.GroupID, held.encode())
	})
}

// Finish implements backend.Chords.
func (b *Backend) Finish(ctx context.Context, claim backend.ChordClaim, _ bool) error {
	return b.claimed(ctx, claim, func(ctx context.Context, tx querier, _ *chordClaim, _ int64) error {
		d := b.db.Dialect
		_, err := tx.ExecContext(ctx, d.Bind("DELETE FROM "+chordTable.full(d)+" WHERE group_id = ?"), claim.GroupID)
		return err
	})
}

// claimed does something to a chord while a claim on it holds.
func (b *Backend) claimed(ctx context.Context, claim backend.ChordClaim, do func(context.Context, querier, *chordClaim, int64) error) error {
	lost := false
	err := b.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		chords, err := b.lockChords(ctx, tx, []string{claim.GroupID}, true)
		if err != nil {
			return err
		}
		c := chords[claim.GroupID]
		if lost = c == nil || c.count != 0; lost {
			return nil
		}
		held, err := decodeClaim(c.members)
		if err != nil {
			return fmt.Errorf("chord %s: %w: %w", claim.GroupID, backend.ErrUnreadable, err)
		}
		if lost = held.Token != claim.Token; lost {
			return nil
		}
		return do(ctx, tx, held, c.now)
	})
	if err == nil && lost {
		return backend.ErrClaimLost
	}
	return b.chordsSaid(err)
}
