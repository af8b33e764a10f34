package sqlbackend

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/protocol"
)

// chordRow is a locked row of chordTable.
type chordRow struct {
	count   int
	members []byte // nil: not read
	now     int64  // the database's clock, in milliseconds
}

// chordClaim is what stands in the place of the members while the count is 0.
type chordClaim struct {
	Members json.RawMessage `json:"sub_tasks"`
	Token   string          `json:"token"` // whose the claim is
	Until   int64           `json:"until"` // by the database's clock, in milliseconds
}

func (c *chordClaim) encode() []byte {
	text, _ := json.Marshal(c) // what was read can be written
	return text
}

func decodeClaim(text []byte) (*chordClaim, error) {
	c := new(chordClaim)
	return c, json.Unmarshal(text, c)
}

// clock is the database's, in milliseconds.
func clock(d sqldb.Dialect) string {
	switch d {
	case sqldb.MySQL:
		return "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
	case sqldb.SQLite:
		return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
	default:
		return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
	}
}

// lockChords locks the rows of chords until the transaction ends, in an order that is everybody's.
// Large headers are read only when that is asked for.
func (b *Backend) lockChords(ctx context.Context, tx querier, groupIDs []string, members bool) (chords map[string]*chordRow, err error) {
	d := b.db.Dialect
	what := "NULL"
	if members {
		what = "sub_tasks"
	}
	where, args := in(d, "group_id", groupIDs)
	rows, err := tx.QueryContext(ctx, "SELECT group_id, "+d.Quote("count")+", "+what+", "+clock(d)+" FROM "+chordTable.full(d)+
		" WHERE "+where+" ORDER BY group_id"+d.ForUpdate(), args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	chords = make(map[string]*chordRow, len(groupIDs))
	for rows.Next() {
		var id string
		c := new(chordRow)
		if err := rows.Scan(&id, &c.count, &c.members, &c.now); err != nil {
			return nil, err
		}
		chords[id] = c
	}
	return chords, rows.Err()
}

// readMembers reads what lockChords left out.
func (b *Backend) readMembers(ctx context.Context, tx querier, groupID string) ([]byte, error) {
	chords, err := b.lockChords(ctx, tx, []string{groupID}, true)
	if err != nil || chords[groupID] == nil {
		return nil, err
	}
	return chords[groupID].members, nil
}

// updateChord writes what stands in the place of the members of a chord whose count is 0.
func (b *Backend) updateChord(ctx context.Context, tx querier, groupID string, text []byte) error {
	d := b.db.Dialect
	_, err := tx.ExecContext(ctx, d.Bind("UPDATE "+chordTable.full(d)+" SET "+d.Quote("count")+" = 0, sub_tasks = ? WHERE group_id = ?"), string(text), groupID)
	return err
}

// updateCounts writes the counts of chords, in one statement.
func (b *Backend) updateCounts(ctx context.Context, tx querier, counts map[string]int) error {
	if len(counts) == 0 {
		return nil
	}
	d := b.db.Dialect
	var statement strings.Builder
	var args []any
	ids := make([]string, 0, len(counts))
	statement.WriteString("UPDATE " + chordTable.full(d) + " SET " + d.Quote("count") + " = CASE group_id")
	for id, count := range counts {
		statement.WriteString(" WHEN ? THEN " + strconv.Itoa(count))
		args, ids = append(args, id), append(ids, id)
	}
	statement.WriteString(" ELSE " + d.Quote("count") + " END WHERE group_id IN (?" + strings.Repeat(", ?", len(ids)-1) + ")")
	for _, id := range ids {
		args = append(args, id)
	}
	_, err := tx.ExecContext(ctx, d.Bind(statement.String()), args...)
	return err
}

// states reads the states of tasks.
func (b *Backend) states(ctx context.Context, tx querier, t *tables, ids []string) (found map[string]protocol.State, err error) {
	d := b.db.Dialect
	where, args := in(d, t.tasks.key, ids)
	rows, err := tx.QueryContext(ctx, "SELECT "+d.Quoted(t.tasks.key, "status")+" FROM "+t.tasks.full(d)+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found = make(map[string]protocol.State, len(ids))
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return nil, err
		}
		found[id] = protocol.State(state)
	}
	return found, rows.Err()
}

// unready counts the tasks of a header that have not ended.
func (b *Backend) unready(ctx context.Context, tx querier, t *tables, members []byte) (n int, err error) {
	ids := protocol.TaskIDs(nil, append(append([]byte(`[["", null], `), members...), ']'))
	slices.Sort(ids)
	for chunk := range slices.Chunk(slices.Compact(ids), readGroup) {
		states, err := b.states(ctx, tx, t, chunk)
		if err != nil {
			return 0, err
		}
		for _, id := range chunk {
			if !states[id].Ready() {
				n++
			}
		}
	}
	return n, nil
}
