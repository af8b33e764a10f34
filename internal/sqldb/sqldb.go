// Package sqldb opens the SQL databases that Celery and Django name, by SQLAlchemy's URLs or by an
// entry of Django's DATABASES, and knows in what PostgreSQL, MySQL (with MariaDB) and SQLite differ.
//
// Whoever imports it links three drivers.
package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Source says which database is meant, and how it is reached. It holds the password, and never
// shows it.
type Source struct {
	Dialect Dialect
	// Location is the zone of dates in columns that have none (MySQL, SQLite): of Django without
	// USE_TZ, TIME_ZONE. PostgreSQL's have one. Default: UTC.
	Location *time.Location
	// Ignored names the options that have no effect here.
	Ignored []string

	at        address
	connector driver.Connector
	startup   []string // statements for each new connection
}

// address is what URLs and DATABASES have in common.
type address struct {
	user, password, host, port, name string
	driver                           string            // Python's, of a URL: pymysql
	options                          map[string]string // as the Python drivers call them
}

// take removes an option, and returns it.
func (a *address) take(name string) string {
	value := a.options[name]
	delete(a.options, name)
	return value
}

// newSource makes a Source of an address. Options that nobody took are an error.
func newSource(d Dialect, at address) (*Source, error) {
	s := &Source{Dialect: d, Location: time.UTC, at: at}
	s.at.options = nil
	if at.options == nil {
		at.options = map[string]string{}
	}
	for _, name := range unheeded[d] {
		if _, ok := at.options[name]; ok {
			delete(at.options, name)
			if !harmless[name] {
				s.Ignored = append(s.Ignored, name)
			}
		}
	}
	var err error
	switch d {
	case PostgreSQL:
		err = s.postgres(&at)
	case MySQL:
		err = s.mysql(&at)
	case SQLite:
		err = s.sqlite(&at)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// refuse is about options that are left.
func refuse(at *address) error {
	if len(at.options) == 0 {
		return nil
	}
	return fmt.Errorf("the option %s cannot be heeded: leave it out, or give this program another URL without it", list(at.options))
}

// String returns the URL without its password, fit for logs.
func (s *Source) String() string {
	var b strings.Builder
	b.WriteString(s.Dialect.String() + "://")
	if s.at.user != "" {
		b.WriteString(s.at.user)
		if s.at.password != "" {
			b.WriteString(":**")
		}
		b.WriteByte('@')
	}
	b.WriteString(s.at.host)
	if s.at.port != "" {
		b.WriteString(":" + s.at.port)
	}
	return b.String() + "/" + s.at.name
}

// Database is the name of the database, or the path of SQLite's file.
func (s *Source) Database() string { return s.at.name }

// Open returns the database, with at most so many connections; 0: 5. It connects when it is used.
func (s *Source) Open(connections int) *DB {
	if connections <= 0 {
		connections = defaultConnections
	}
	pool := sql.OpenDB(&connector{Connector: s.connector, startup: s.startup})
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxLifetime(maxLifetime)
	pool.SetConnMaxIdleTime(maxIdle)
	return &DB{DB: pool, Dialect: s.Dialect, location: s.Location}
}

const (
	defaultConnections = 5
	maxLifetime        = time.Hour // as Celery's pool_recycle
	maxIdle            = 5 * time.Minute
)

// DB is an open database.
type DB struct {
	*sql.DB
	Dialect  Dialect
	location *time.Location
}

// connector makes connections and says on each what is to be said first.
type connector struct {
	driver.Connector
	startup []string
}

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, statement := range c.startup {
		if err := execute(ctx, conn, statement); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", statement, err), conn.Close())
		}
	}
	return conn, nil
}

func execute(ctx context.Context, conn driver.Conn, statement string) error {
	able, ok := conn.(driver.ExecerContext)
	if !ok {
		return errors.ErrUnsupported
	}
	_, err := able.ExecContext(ctx, statement, nil)
	return err
}
