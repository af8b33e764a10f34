package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// readGroup is how many records one SELECT reads.
const readGroup = 500

// Load implements backend.Loader.
func (b *Backend) Load(ctx context.Context, taskID string) ([]byte, error) {
	records, err := b.LoadMany(ctx, taskID)
	if err != nil {
		return nil, err
	}
	if records[0] == nil {
		return nil, fmt.Errorf("%w for task %s", backend.ErrNotFound, taskID)
	}
	return records[0], nil
}

// LoadMany implements backend.Loader.
func (b *Backend) LoadMany(ctx context.Context, taskIDs ...string) ([][]byte, error) {
	records := make([][]byte, 0, len(taskIDs))
	if len(taskIDs) == 0 {
		return records, b.closed()
	}
	t, err := b.tables(ctx)
	if err != nil {
		return nil, err
	}
	for ids := range slices.Chunk(taskIDs, readGroup) {
		found := make(map[string][]byte, len(ids))
		err := b.db.Retry(ctx, func(ctx context.Context) error {
			return b.read(ctx, b.db, t, ids, func(id string, document []byte, err error) error {
				found[id] = document
				return err
			})
		})
		if err := b.said(err); err != nil {
			return nil, err
		}
		for _, id := range ids {
			records = append(records, found[id])
		}
	}
	return records, nil
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// read reads the records of tasks, in any order. err says why one cannot be read.
func (b *Backend) read(ctx context.Context, from querier, t *tables, ids []string, each func(id string, document []byte, err error) error) (err error) {
	d := b.db.Dialect
	where, args := in(d, t.tasks.key, ids)
	rows, err := from.QueryContext(ctx, "SELECT "+d.Quoted(t.reads...)+" FROM "+t.tasks.full(d)+" WHERE "+where, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r := newReading(b, t.reads)
		if err := rows.Scan(r.into...); err != nil {
			return err
		}
		document, err := r.document()
		if err != nil {
			err = fmt.Errorf("the record of task %s: %w", r.id, err)
		}
		if err := each(r.id, document, err); err != nil {
			return err
		}
	}
	return rows.Err()
}

// in is a condition that a column is one of some texts, and its arguments.
func in(d sqldb.Dialect, column string, values []string) (condition string, args []any) {
	if d == sqldb.PostgreSQL {
		return d.Quote(column) + " = ANY($1::text[])", []any{values}
	}
	args = make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return d.Quote(column) + " IN (" + d.Placeholders(1, len(values)) + ")", args
}

// reads are the columns that Load reads.
func reads(p *prepared) (names []string) {
	written := []string{"date_created", "date_started", "periodic_task_name"}
	for _, c := range p.columns {
		if !slices.Contains(written, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// reading is a row that is read. Columns of both layouts have places here.
type reading struct {
	b    *Backend
	into []any

	id, status, contentType, contentEncoding  string
	traceback, name, worker, queue            sql.NullString
	result, meta, children, args, kwargs, say []byte
	retries                                   sql.NullInt64
	done                                      time.Time
}

func newReading(b *Backend, columns []string) *reading {
	r := &reading{b: b, into: make([]any, len(columns))}
	for i, column := range columns {
		r.into[i] = r.place(column)
	}
	return r
}

func (r *reading) place(column string) any {
	switch column {
	case "task_id":
		return &r.id
	case "status":
		return &r.status
	case "content_type":
		return &r.contentType
	case "content_encoding":
		return &r.contentEncoding
	case "result":
		return &r.result
	case "traceback":
		return &r.traceback
	case "meta":
		return &r.meta
	case "children":
		return &r.children
	case "date_done":
		return r.b.db.Time(&r.done)
	case "name", "task_name":
		return &r.name
	case "args", "task_args":
		return &r.args
	case "kwargs", "task_kwargs":
		return &r.kwargs
	case "worker":
		return &r.worker
	case "queue":
		return &r.queue
	case "retries":
		return &r.retries
	case "stamps":
		return &r.say
	}
	return new(any)
}

// document is the record as Celery's other backends keep it.
func (r *reading) document() ([]byte, error) {
	result := protocol.Result{TaskID: r.id, State: protocol.State(r.status), DateDone: r.done}
	if r.traceback.Valid {
		result.Traceback = &r.traceback.String
	}
	if r.name.Valid {
		result.Extended = &protocol.Extended{
			Name: r.name.String, Worker: r.worker.String, Queue: r.queue.String, Retries: int(r.retries.Int64),
		}
	}
	decode := r.decode
	if r.b.layout.kind == Django {
		decode = r.decodeText
	}
	var err error
	if result.Result, err = decode(r.result); err != nil {
		return nil, err
	}
	if r.meta != nil {
		meta, err := decode(r.meta)
		if err != nil {
			return nil, err
		}
		result.Children = pyjson.Member(meta, "children")
	}
	if r.children != nil {
		if result.Children, err = decode(r.children); err != nil {
			return nil, err
		}
	}
	if x := result.Extended; x != nil {
		if err := r.extend(x, decode); err != nil {
			return nil, err
		}
	}
	return result.Append(nil), nil
}

func (r *reading) extend(x *protocol.Extended, decode func([]byte) ([]byte, error)) (err error) {
	if x.Args, err = decode(r.args); err != nil {
		return err
	}
	if x.Kwargs, err = decode(r.kwargs); err != nil {
		return err
	}
	stamps, err := decode(r.say)
	if err != nil || stamps == nil {
		return err
	}
	for _, header := range pyjson.Elements(pyjson.Member(stamps, "stamped_headers")) {
		name, err := pyjson.Unquote(header)
		if err != nil {
			return err
		}
		x.StampedHeaders = append(x.StampedHeaders, name)
	}
	x.Stamps = pyjson.Member(stamps, "stamps")
	return nil
}

func (r *reading) decode(stored []byte) ([]byte, error) {
	return decode(r.b.codec.serializer, stored)
}

func (r *reading) decodeText(stored []byte) ([]byte, error) {
	return decodeText(r.contentType, r.contentEncoding, stored)
}

// Forget implements backend.Loader.
func (b *Backend) Forget(ctx context.Context, taskIDs ...string) error {
	if len(taskIDs) == 0 {
		return b.closed()
	}
	t, err := b.tables(ctx)
	if err != nil {
		return err
	}
	return b.delete(ctx, &t.tasks, taskIDs)
}

func (b *Backend) delete(ctx context.Context, p *prepared, keys []string) error {
	for ids := range slices.Chunk(keys, readGroup) {
		where, args := in(b.db.Dialect, p.key, ids)
		statement := strings.Join([]string{"DELETE FROM", p.full(b.db.Dialect), "WHERE", where}, " ")
		err := b.db.Retry(ctx, func(ctx context.Context) error {
			_, err := b.db.ExecContext(ctx, statement, args...)
			return err
		})
		if err := b.said(err); err != nil {
			return err
		}
	}
	return nil
}
