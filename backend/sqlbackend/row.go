package sqlbackend

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// row is what a record says, in parts. What is bytes is in the result serializer.
type row struct {
	id        string // of the task or the group
	state     protocol.State
	result    []byte
	traceback *string
	children  []byte // nil: none
	meta      []byte // with the children, and what the task has put into request.meta
	done      time.Time
	started   time.Time // zero: a date that is there stays
	now       time.Time

	// With result_extended.
	name, worker, queue, periodic string
	args, kwargs                  []byte
	argsRepr, kwargsRepr          []byte
	retries                       int64
	stamps                        []byte
}

// row takes a record apart.
func (b *Backend) row(record backend.Record, now time.Time) (*row, error) {
	result, err := protocol.DecodeResult(record.Document)
	if err != nil {
		return nil, err
	}
	r := &row{
		id: record.TaskID, state: result.State, traceback: result.Traceback, done: result.DateDone, now: now,
		result: record.Encoded,
	}
	if r.state == protocol.Started {
		r.started = now
	}
	if r.result == nil {
		if r.result, err = b.codec.result(result); err != nil {
			return nil, err
		}
	}
	if b.layout.kind == Django {
		err = b.django(r, result, record)
	} else {
		err = b.sqlalchemy(r, result)
	}
	if err != nil {
		return nil, err
	}
	if x := result.Extended; x != nil {
		r.name, r.worker, r.queue, r.retries = x.Name, x.Worker, x.Queue, int64(x.Retries)
	}
	return r, nil
}

// django fills in what only django-celery-results keeps (backends/database.py: _store_result).
func (b *Backend) django(r *row, result *protocol.Result, record backend.Record) (err error) {
	if r.meta, err = b.codec.encode(djangoMeta(result.Children, record)); err != nil {
		return err
	}
	x, task := result.Extended, record.Task
	if x == nil {
		return nil
	}
	if r.argsRepr, err = b.codec.loose(x.Args); err != nil {
		return err
	}
	if r.kwargsRepr, err = b.codec.loose(x.Kwargs); err != nil || task == nil {
		return err
	}
	if task.ArgsRepr != "" {
		if r.argsRepr, err = b.codec.encode(pyjson.AppendString(nil, task.ArgsRepr)); err != nil {
			return err
		}
	}
	if task.KwargsRepr != "" {
		if r.kwargsRepr, err = b.codec.encode(pyjson.AppendString(nil, task.KwargsRepr)); err != nil {
			return err
		}
	}
	r.periodic = header(task, "periodic_task_name")
	return nil
}

// djangoMeta is what stands in the column meta: what the task has put into request.meta, which
// may come as a header, and its children.
func djangoMeta(children []byte, record backend.Record) []byte {
	meta := []byte("{")
	for name, value := range pyjson.Members(requestMeta(record)) {
		if name != "children" {
			meta = append(pyjson.AppendKey(meta, name), value...)
		}
	}
	meta = pyjson.AppendKey(meta, "children")
	if children == nil || pyjson.Kind(children) != '[' {
		return append(meta, "[]}"...)
	}
	return append(append(meta, children...), '}')
}

func requestMeta(record backend.Record) []byte {
	if bytes.Contains(record.Document, metaKey) {
		if meta := pyjson.Member(record.Document, "meta"); meta != nil {
			return meta
		}
	}
	if record.Task != nil && bytes.Contains(record.Task.Headers, metaKey) {
		return pyjson.Member(record.Task.Headers, "meta")
	}
	return nil
}

var metaKey = []byte(`"meta"`)

// header returns a header that is text; "": there is none.
func header(task *protocol.Task, name string) string {
	if !bytes.Contains(task.Headers, []byte(name)) {
		return ""
	}
	value, err := pyjson.Unquote(pyjson.Member(task.Headers, name))
	if err != nil {
		return ""
	}
	return value
}

// sqlalchemy fills in what only Celery's database backend keeps
// (celery/backends/database/__init__.py: _update_result).
func (b *Backend) sqlalchemy(r *row, result *protocol.Result) (err error) {
	if len(pyjson.Elements(result.Children)) > 0 {
		if r.children, err = b.codec.encode(result.Children); err != nil {
			return err
		}
	}
	x := result.Extended
	if x == nil {
		return nil
	}
	if r.args, err = b.codec.loose(x.Args); err != nil {
		return err
	}
	if r.kwargs, err = b.codec.loose(x.Kwargs); err != nil {
		return err
	}
	if len(x.StampedHeaders) > 0 {
		headers, err := pyjson.Append(nil, x.StampedHeaders)
		if err != nil {
			return err
		}
		stamps := append(append([]byte(`{"stamped_headers": `), headers...), `, "stamps": {`...)
		for name, value := range pyjson.Members(x.Stamps) {
			stamps = append(pyjson.AppendKey(stamps, name), value...)
		}
		r.stamps, err = b.codec.encode(append(stamps, "}}"...))
		return err
	}
	return nil
}

// merge makes one row of those of each task, as if one after the other were stored: a success is
// final, and the last one of all others counts. Whoever stores some of the same tasks does it in the
// same order, so that nobody waits in a circle.
func merge(rows []*row) []*row {
	at := make(map[string]int, len(rows))
	merged := rows[:0]
	for _, r := range rows {
		i, there := at[r.id]
		switch {
		case !there:
			at[r.id] = len(merged)
			merged = append(merged, r)
		case merged[i].state != protocol.Success:
			if r.started.IsZero() {
				r.started = merged[i].started
			}
			merged[i] = r
		}
	}
	slices.SortFunc(merged, func(x, y *row) int { return strings.Compare(x.id, y.id) })
	return merged
}
