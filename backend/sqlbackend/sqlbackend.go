// Package sqlbackend keeps results in SQL databases, in the tables of django-celery-results
// (result_backend = "django-db") or of Celery's database backend ("db+postgresql://…"), where
// Python reads them.
//
// It differs from them in two ways: SUCCESS is final with django-celery-results, too, and a failed
// task's traceback is stored without result_extended as well.
package sqlbackend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/protocol/serializer"
)

// Layout is whose tables they are.
type Layout int

// The layouts.
const (
	// Django is django-celery-results': its migrations make the tables.
	Django Layout = iota
	// SQLAlchemy is that of Celery's database backend: tables are made when they are missing.
	SQLAlchemy
)

// Config of a Backend.
type Config struct {
	Layout Layout

	// URL is the database's, as SQLAlchemy has it: postgresql+psycopg://user:password@host/name,
	// mysql+pymysql://…, sqlite:////absolute/path. The driver after + does not matter.
	URL string
	// DjangoDatabase is an entry of Django's DATABASES as JSON, instead of a URL. Its TIME_ZONE
	// is the connection's timezone_name.
	DjangoDatabase []byte

	// Extended is result_extended: tables of SQLAlchemy get the columns for it.
	Extended bool

	// Serializer is result_serializer: "json", "yaml", "msgpack" or "pickle". Default: json.
	Serializer string

	// Pickled writes results in SQLAlchemy's tables as Celery before 5.7 did, which reads nothing
	// else. Celery 5.7 reads both. Children of tasks are not kept then.
	Pickled bool

	// TaskTable, GroupTable, TaskSchema and GroupSchema are database_table_names and
	// database_table_schemas. Default: celery_taskmeta and celery_tasksetmeta, where the
	// connection looks first.
	TaskTable, GroupTable, TaskSchema, GroupSchema string

	// Expires is how long Cleanup leaves results (result_expires). 0: for ever.
	Expires time.Duration

	// Connections is how many there are at most. 0: 5.
	Connections int

	// OnState hears whether the database can be used: when that changes, and why it cannot.
	OnState func(connected bool, err error)

	Logger *slog.Logger // nil: nothing is logged
}

// Source tells which database is meant, without its password, and which options have no effect.
func (c *Config) Source() (shown string, ignored []string, err error) {
	s, err := c.source()
	if err != nil {
		return "", nil, err
	}
	return s.String(), s.Ignored, nil
}

func (c *Config) source() (*sqldb.Source, error) {
	if c.DjangoDatabase != nil {
		return sqldb.FromDjango(c.DjangoDatabase)
	}
	return sqldb.Parse(c.URL)
}

// Backend stores and reads records. Its methods are safe for concurrent use. They return an error
// while the database is away; nothing is stored in part then that may not be stored again.
type Backend struct {
	db     *sqldb.DB
	layout *layout
	codec  codec
	// expires is Config.Expires.
	expires time.Duration
	log     *slog.Logger

	mu       sync.Mutex
	prepared *tables // nil: nobody has looked at the tables yet

	polls   *polls
	closing context.Context //nolint:containedctx // ends with Close
	close   context.CancelFunc

	onState func(connected bool, err error)
	state   atomic.Int32 // 0: not known, 1: usable, 2: away
	losses  atomic.Int64
}

var (
	_ backend.Store  = (*Backend)(nil)
	_ backend.Loader = (*Backend)(nil)
	_ backend.Groups = (*Backend)(nil)
)

// New returns a backend, which connects by itself.
func New(cfg Config) (*Backend, error) {
	source, err := cfg.source()
	if err != nil {
		return nil, fmt.Errorf("sqlbackend: %w", err)
	}
	s, err := serializer.Lookup(cfg.Serializer)
	if err != nil {
		return nil, fmt.Errorf("sqlbackend: Config.Serializer: %w", err)
	}
	b := &Backend{
		db: source.Open(cfg.Connections), layout: newLayout(&cfg), codec: newCodec(&cfg, s), expires: cfg.Expires,
		log: cfg.Logger, onState: cfg.OnState,
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.closing, b.close = context.WithCancel(context.Background())
	b.polls = newPolls(b)
	return b, nil
}

// errUnusable is in the errors about tables that have to be mended first.
var errUnusable = errors.New("")

// Misconfigured tells whether an error is one that only other settings, or other tables, mend.
func Misconfigured(err error) bool {
	return sqldb.TroubleOf(err) == sqldb.Refusal || errors.Is(err, errUnusable)
}

// Ping tells whether the database answers, and has the tables.
func (b *Backend) Ping(ctx context.Context) error {
	if _, err := b.tables(ctx); err != nil {
		return err
	}
	return b.said(b.db.PingContext(ctx))
}

// Reconnects returns how often the database was lost and found again.
func (b *Backend) Reconnects() int64 { return b.losses.Load() }

// Close implements backend.Store.
func (b *Backend) Close() error {
	b.close()
	b.polls.wait()
	return b.db.Close()
}

// said gives an error its context, and tells OnState what it means for the database.
func (b *Backend) said(err error) error {
	if b.closing.Err() != nil {
		return backend.ErrClosed
	}
	if err == nil {
		if b.state.Swap(1) == 2 {
			b.losses.Add(1)
			b.tell(true, nil)
		}
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnreadable) || errors.Is(err, backend.ErrNotFound) {
		return err
	}
	err = fmt.Errorf("sqlbackend: %w", err)
	if sqldb.TroubleOf(err) == sqldb.Away && b.state.Swap(2) != 2 {
		b.tell(false, err)
	}
	return err
}

func (b *Backend) tell(connected bool, err error) {
	if b.onState != nil {
		b.onState(connected, err)
	}
}
