package djangobeat

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/internal/sqldb"
)

// reloadEvery is how often all is read even if nothing seems to have changed: QuerySet.update() and SQL do
// not say that they change something.
const reloadEvery = time.Minute

// Config says which tables are meant. Either URL or Django is required.
type Config struct {
	// URL names the database, as SQLAlchemy does: postgresql://user:password@host:5432/name, mysql://…,
	// sqlite:////path.
	URL string
	// Django is an entry of Django's DATABASES, as JSON; its TIME_ZONE is the connection's timezone_name.
	Django json.RawMessage
	// DatesIn is the zone of dates in a database that URL names and that keeps none with them (MySQL, SQLite):
	// TIME_ZONE of a Django without USE_TZ. nil: UTC.
	DatesIn *time.Location

	// Old has the tables of django-celery, djcelery_*, instead of those of django-celery-beat.
	Old bool

	// Static are the entries of beat_schedule. Python's scheduler writes them into rows when it starts; here they
	// stay in memory. Where there is a row of the same name, it says whether the entry is enabled, and when it ran.
	Static []*beat.Entry

	// Location is the setting timezone, that of crontabs without one of their own. nil: UTC.
	Location *time.Location
	// NotAware is DJANGO_CELERY_BEAT_TZ_AWARE = False: zones of crontabs do not count, and last_run_at is
	// in UTC, whatever the zone of other dates.
	NotAware bool
}

// Source reads entries from the tables and writes their runs back.
type Source struct {
	cfg     Config
	db      *sqldb.DB
	datesIn *time.Location
	layout  layout
	static  map[string]*beat.Entry

	rows    map[string]int64 // the ids of rows, by entry
	changed time.Time        // last_update at the last Load
	loaded  time.Time        // when that was; zero: never
}

var _ beat.Source = (*Source)(nil)

// New returns a source. The database is asked when it is used; the error says what is wrong with its URL.
func New(cfg Config) (*Source, error) {
	database, err := cfg.database()
	if err != nil {
		return nil, fmt.Errorf("djangobeat: %w", err)
	}
	s := &Source{cfg: cfg, db: database.Open(connections), datesIn: database.Location, layout: celeryBeat, static: map[string]*beat.Entry{}}
	if cfg.Old {
		s.layout = djcelery
	}
	s.cfg.Location = cmp.Or(cfg.Location, time.UTC)
	for _, e := range cfg.Static {
		if s.static[e.Name] = e; !cfg.Old {
			s.static[e.Name] = named(e)
		}
	}
	return s, nil
}

func (c *Config) database() (*sqldb.Source, error) {
	if c.Django != nil {
		return sqldb.FromDjango(c.Django)
	}
	database, err := sqldb.Parse(c.URL)
	if err == nil && c.DatesIn != nil {
		database.Location = c.DatesIn
	}
	return database, err
}

// connections are enough for one who reads or writes.
const connections = 1

// Close closes the connection.
func (s *Source) Close() error { return s.db.Close() }

// Name implements [beat.Source].
func (s *Source) Name() string { return s.layout.name }

// Changed implements [beat.Source].
func (s *Source) Changed(ctx context.Context) (bool, error) {
	if time.Since(s.loaded) >= reloadEvery {
		return true, nil
	}
	changed, err := s.lastUpdate(ctx)
	return !changed.Equal(s.changed), err
}

// lastUpdate is when Django says that something has changed; zero: never.
func (s *Source) lastUpdate(ctx context.Context) (changed time.Time, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT last_update FROM "+s.layout.table(s.db.Dialect, "periodictasks")+" WHERE ident = 1").
		Scan(s.db.Time(&changed))
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return changed, s.explained(err)
}

// explained says what to do where tables are missing.
func (s *Source) explained(err error) error {
	if err != nil && sqldb.NoTable(err) {
		return fmt.Errorf("%w: is this Django's database? Then `python manage.py migrate %s` makes the tables", err, s.layout.app)
	}
	return err
}

// Load implements [beat.Source].
func (s *Source) Load(ctx context.Context) ([]*beat.Entry, error) {
	now := time.Now()
	changed, err := s.lastUpdate(ctx) // before the rows: what changes meanwhile is seen the next time
	if err != nil {
		return nil, err
	}
	rows, err := s.read(ctx)
	if err != nil {
		return nil, s.explained(err)
	}
	ids := make(map[string]int64, len(rows))
	entries := make([]*beat.Entry, 0, len(rows))
	var had []beat.Run
	for i := range rows {
		e := s.entry(&rows[i])
		ids[e.Name] = rows[i].id
		if e.OneOff && e.TotalRunCount > 0 {
			e.Disabled = true
			had = append(had, beat.Run{Entry: e, Ended: true})
		}
		entries = append(entries, e)
	}
	for name, e := range s.static {
		if ids[name] == 0 {
			entries = append(entries, e)
		}
	}
	s.rows, s.changed, s.loaded = ids, changed, now
	// One-offs that Python's beat has sent, and not disabled yet.
	return entries, s.Ran(ctx, had)
}

// read reads the rows that are enabled, and those that stand for entries of beat_schedule.
func (s *Source) read(ctx context.Context) ([]row, error) {
	db := s.db
	statement := s.layout.selectRows(db.Dialect) + " WHERE t.enabled"
	var args []any
	if len(s.static) > 0 {
		for name := range s.static {
			args = append(args, name)
		}
		statement += " OR t.name IN (" + db.Dialect.Placeholders(1, len(args)) + ")"
	}
	found, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // Err tells what went wrong
	var rows []row
	for found.Next() {
		var r row
		if err := r.scan(db, found); err != nil {
			return nil, err
		}
		if s.cfg.NotAware {
			r.lastRunAt = shift(r.lastRunAt, s.datesIn, time.UTC)
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

// shift moves a time so that the clock of another zone shows what that of its own did.
func shift(t time.Time, from, to *time.Location) time.Time {
	if t.IsZero() {
		return t
	}
	w := t.In(from)
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), to).UTC()
}

// entry makes an entry of a row. Of one that cannot be used, Err says why.
func (s *Source) entry(r *row) *beat.Entry {
	e := &beat.Entry{Name: r.name, Task: r.task}
	if static := s.static[r.name]; static != nil {
		*e = *static
	} else {
		e.Err = r.fill(e, s.zone(), s.layout)
	}
	r.fillTimes(e)
	e.Disabled = !r.enabled
	return e
}

// zone is that of all crontabs; nil: each has its own.
func (s *Source) zone() *time.Location {
	if s.layout.old || s.cfg.NotAware {
		return s.cfg.Location
	}
	return nil
}
