package sqlbackend

import (
	"cmp"
	"time"

	"github.com/apium/apium/internal/sqldb"
)

// layout is how a kind of backend keeps records.
type layout struct {
	kind          Layout
	tasks, groups table
}

// table is one table of it.
type table struct {
	schema, name string
	key          string   // the column with the task's or the group's id
	sequence     string   // that ids come from, where the column id has no default
	columns      []column // without the column id
}

// column is one column, and what it holds of a record.
type column struct {
	name string
	kind kind
	of   func(c *codec, r *row) any // nil: it is not written
	// set says what becomes of a value that is there when the record is stored again.
	set set
	// added columns are missing in the tables of older releases, and are added.
	added bool
}

// kind is what a column holds.
type kind int

const (
	text kind = iota
	bytea
	integer
	date
)

// postgres is the type of an argument of that kind.
func (k kind) postgres() string {
	return [...]string{"text", "bytea", "bigint", "timestamptz"}[k]
}

type set int

const (
	replaced set = iota
	kept         // what was inserted stays
	filled       // replaced if there is a new value
)

const (
	taskTable  = "celery_taskmeta"    // Celery's names of SQLAlchemy's tables
	groupTable = "celery_tasksetmeta" //
)

func newLayout(cfg *Config) *layout {
	if cfg.Layout == Django {
		return &djangoLayout
	}
	tasks := sqlalchemyTask
	if cfg.Pickled {
		tasks = without(tasks, "children")
	}
	if cfg.Extended {
		tasks = append(tasks[:len(tasks):len(tasks)], sqlalchemyExtended...)
	}
	return &layout{
		kind: SQLAlchemy,
		tasks: table{
			schema: cfg.TaskSchema, name: cmp.Or(cfg.TaskTable, taskTable), key: "task_id",
			sequence: "task_id_sequence", columns: tasks,
		},
		groups: table{
			schema: cfg.GroupSchema, name: cmp.Or(cfg.GroupTable, groupTable), key: "taskset_id",
			sequence: "taskset_id_sequence", columns: sqlalchemyGroup,
		},
	}
}

func without(columns []column, name string) (rest []column) {
	for _, c := range columns {
		if c.name != name {
			rest = append(rest, c)
		}
	}
	return rest
}

// djangoLayout are the tables of django-celery-results 2.6 (models.py).
var djangoLayout = layout{
	kind: Django,
	tasks: table{name: "django_celery_results_taskresult", key: "task_id", columns: []column{
		{name: "task_id", of: func(_ *codec, r *row) any { return r.id }},
		{name: "status", of: func(_ *codec, r *row) any { return string(r.state) }},
		{name: "content_type", of: func(c *codec, _ *row) any { return c.contentType() }},
		{name: "content_encoding", of: func(c *codec, _ *row) any { return c.contentEncoding() }},
		{name: "result", of: func(c *codec, r *row) any { return c.text(r.result) }},
		{name: "traceback", of: func(_ *codec, r *row) any { return textOf(r.traceback) }},
		{name: "meta", of: func(c *codec, r *row) any { return c.text(r.meta) }},
		{name: "task_name", of: func(_ *codec, r *row) any { return cut(r.name, 255) }},
		{name: "task_args", of: func(c *codec, r *row) any { return c.text(r.argsRepr) }},
		{name: "task_kwargs", of: func(c *codec, r *row) any { return c.text(r.kwargsRepr) }},
		{name: "worker", of: func(_ *codec, r *row) any { return cut(r.worker, 100) }},
		{name: "periodic_task_name", of: func(_ *codec, r *row) any { return cut(r.periodic, 255) }, added: true},
		{name: "date_created", kind: date, of: func(_ *codec, r *row) any { return r.now }, set: kept},
		{name: "date_started", kind: date, of: func(_ *codec, r *row) any { return r.started }, set: filled, added: true},
		{name: "date_done", kind: date, of: func(_ *codec, r *row) any { return doneOr(r.done, r.now) }},
	}},
	groups: table{name: "django_celery_results_groupresult", key: "group_id", columns: []column{
		{name: "group_id", of: func(_ *codec, r *row) any { return r.id }},
		{name: "content_type", of: func(c *codec, _ *row) any { return c.contentType() }},
		{name: "content_encoding", of: func(c *codec, _ *row) any { return c.contentEncoding() }},
		{name: "result", of: func(c *codec, r *row) any { return c.text(r.result) }},
		{name: "date_created", kind: date, of: func(_ *codec, r *row) any { return r.now }, set: kept},
		{name: "date_done", kind: date, of: func(_ *codec, r *row) any { return r.now }},
	}},
}

// The tables of Celery's database backend (celery/backends/database/models.py).
var (
	sqlalchemyTask = []column{
		{name: "task_id", of: func(_ *codec, r *row) any { return r.id }},
		{name: "status", of: func(_ *codec, r *row) any { return string(r.state) }},
		{name: "result", kind: bytea, of: func(_ *codec, r *row) any { return bytesOf(r.result) }},
		{name: "date_done", kind: date, of: func(_ *codec, r *row) any { return r.done }},
		{name: "traceback", of: func(_ *codec, r *row) any { return textOf(r.traceback) }},
		{name: "children", kind: bytea, of: func(_ *codec, r *row) any { return bytesOf(r.children) }, added: true},
	}
	sqlalchemyExtended = []column{
		{name: "name", of: func(_ *codec, r *row) any { return cut(r.name, 155) }, added: true},
		{name: "args", kind: bytea, of: func(_ *codec, r *row) any { return bytesOf(r.args) }, added: true},
		{name: "kwargs", kind: bytea, of: func(_ *codec, r *row) any { return bytesOf(r.kwargs) }, added: true},
		{name: "worker", of: func(_ *codec, r *row) any { return cut(r.worker, 155) }, added: true},
		{name: "retries", kind: integer, of: func(_ *codec, r *row) any { return retriesOf(r) }, added: true},
		{name: "queue", of: func(_ *codec, r *row) any { return cut(r.queue, 155) }, added: true},
		{name: "stamps", kind: bytea, of: func(_ *codec, r *row) any { return bytesOf(r.stamps) }, set: filled, added: true},
	}
	sqlalchemyGroup = []column{
		{name: "taskset_id", of: func(_ *codec, r *row) any { return r.id }},
		{name: "result", kind: bytea, of: func(_ *codec, r *row) any { return bytesOf(r.result) }},
		{name: "date_done", kind: date, of: func(_ *codec, r *row) any { return r.now }},
	}
)

// full is the table's name as it stands in statements.
func (t *table) full(d sqldb.Dialect) string { return d.Table(t.schema, t.name) }

func textOf(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func bytesOf(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// cut shortens a name to the characters that its column has room for: "" is NULL.
func cut(s string, characters int) any {
	if s == "" {
		return nil
	}
	n := 0
	for i := range s {
		if n == characters {
			return s[:i]
		}
		n++
	}
	return s
}

func retriesOf(r *row) any {
	if r.name == "" {
		return nil
	}
	return r.retries
}

func doneOr(done, now time.Time) time.Time {
	if done.IsZero() {
		return now
	}
	return done
}
