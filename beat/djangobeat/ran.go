package djangobeat

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/beat"
)

// Ran implements [beat.Source]. Only the columns that tell of runs are written, and only of rows that are
// still enabled: what is edited meanwhile stays.
func (s *Source) Ran(ctx context.Context, runs []beat.Run) error {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r beat.Run) bool { return s.rows[r.Entry.Name] == 0 })
	if len(runs) == 0 {
		return nil
	}
	// In one order, so that two who write do not wait for each other.
	slices.SortFunc(runs, func(a, b beat.Run) int { return cmp.Compare(s.rows[a.Entry.Name], s.rows[b.Entry.Name]) })
	return s.explained(s.db.Tx(ctx, func(ctx context.Context, tx *sql.Tx) error { return s.write(ctx, tx, runs) }))
}

// atATime is how many rows a statement changes.
const atATime = 100

func (s *Source) write(ctx context.Context, tx *sql.Tx, runs []beat.Run) error {
	exec := func(statement string, args []any) error {
		_, err := tx.ExecContext(ctx, s.db.Dialect.Bind(statement), args...)
		return err
	}
	var ended, others []beat.Run
	for _, run := range runs {
		if run.Ended {
			ended = append(ended, run)
		} else {
			others = append(others, run)
		}
	}
	for some := range slices.Chunk(others, atATime) {
		if err := exec(s.updateRan(some)); err != nil {
			return err
		}
	}
	if len(ended) == 0 {
		return nil
	}
	for i := range ended {
		if err := exec(s.updateEnded(&ended[i])); err != nil {
			return err
		}
	}
	return exec("UPDATE "+s.layout.table(s.db.Dialect, "periodictasks")+" SET last_update = ? WHERE ident = 1", []any{s.db.Date(time.Now())})
}

// updateRan is what is written of runs.
func (s *Source) updateRan(runs []beat.Run) (statement string, args []any) {
	var dates, counts, ids []any
	for i := range runs {
		id, at := s.rows[runs[i].Entry.Name], runs[i].At
		if s.cfg.NotAware {
			at = shift(at, time.UTC, s.datesIn)
		}
		dates, counts, ids = append(dates, id, s.db.Date(at)), append(counts, id, runs[i].Count), append(ids, id)
	}
	whens := strings.Repeat(" WHEN ? THEN ?", len(runs))
	return "UPDATE " + s.layout.table(s.db.Dialect, "periodictask") +
		" SET last_run_at = CASE id" + whens + " ELSE last_run_at END, total_run_count = CASE id" + whens + " ELSE total_run_count END" +
		" WHERE enabled AND id IN (?" + strings.Repeat(", ?", len(runs)-1) + ")", slices.Concat(dates, counts, ids)
}

// updateEnded is what is written of a run after which there is none. What has ended is disabled as Django does it: without a last run, a one-off
// without runs, and with another date_changed: who enables it again wants what is due from then on.
func (s *Source) updateEnded(run *beat.Run) (statement string, args []any) {
	table, id := s.layout.table(s.db.Dialect, "periodictask"), s.rows[run.Entry.Name]
	const where = " WHERE enabled AND id = ?"
	ended := time.Now()
	if ran := run.At.Add(time.Millisecond); ran.After(ended) { // by another clock
		ended = ran
	}
	set := " SET enabled = ?, last_run_at = NULL, date_changed = ?"
	args = []any{false, s.db.Date(ended), id}
	if run.Entry.OneOff {
		return "UPDATE " + table + set + ", total_run_count = 0" + where + " AND one_off", args
	}
	return "UPDATE " + table + set + where + " AND expires <= ?", append(args, s.db.Date(time.Now()))
}
