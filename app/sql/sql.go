// Package sql has a program store results in SQL databases: whoever imports it, with
//
//	import _ "github.com/apium/apium/app/sql"
//
// may give app settings whose result_backend is one of
//
//	db+postgresql://user:password@host/name     Celery's database backend; also db+mysql://, db+sqlite:///file
//	django-db+postgresql://…                    the tables of django-celery-results
//	django-db                                   the same, in the database of apium_database
//
// It links the drivers of PostgreSQL, MySQL and SQLite. The apium command has it.
package sql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

func init() { //nolint:gochecknoinits // it is imported for this, as drivers of database/sql are
	for _, name := range []string{
		"django-db", "django_celery_results.backends:DatabaseBackend", "django_celery_results.backends.DatabaseBackend",
		"django_celery_results.backends.database:DatabaseBackend", "django_celery_results.backends.database.DatabaseBackend",
	} {
		fromsettings.LinkResults(name, django)
	}
	for _, name := range []string{
		"db", "database", "celery.backends.database:DatabaseBackend", "celery.backends.database.DatabaseBackend",
	} {
		fromsettings.LinkResults(name, sqlalchemy)
	}
}

// django is django-celery-results.
func django(cs *fromsettings.Connections, conf *settings.Settings) (connection.Server, func() (*fromsettings.Results, error), error) {
	cfg := common(cs, conf)
	cfg.Layout = sqlbackend.Django
	switch url := databaseURL(cs.BackendURL); {
	case url != "":
		cfg.URL = url
	case !conf.Database.IsZero():
		cfg.URL, cfg.DjangoDatabase = conf.Database.URL, conf.Database.Django
	default:
		return connection.Server{}, nil, errors.New("result backend: django-db leaves open which database: name it, django-db+postgresql://user:password@host/name, " +
			"or let scripts/export_settings.py write the settings file, which takes it from Django's DATABASES")
	}
	return opener(cfg, "django-db+")
}

// sqlalchemy is Celery's own backend.
func sqlalchemy(cs *fromsettings.Connections, conf *settings.Settings) (connection.Server, func() (*fromsettings.Results, error), error) {
	cfg := common(cs, conf)
	cfg.Layout, cfg.Pickled = sqlbackend.SQLAlchemy, conf.DatabasePickle
	if cfg.URL = databaseURL(cs.BackendURL); cfg.URL == "" {
		cfg.URL = conf.DatabaseURL
	}
	if cfg.URL == "" {
		return connection.Server{}, nil, errors.New("result backend: database leaves open which one: name it, db+postgresql://user:password@host/name, or set database_url")
	}
	cfg.TaskTable, cfg.GroupTable = conf.DatabaseTableNames.Task, conf.DatabaseTableNames.Group
	cfg.TaskSchema, cfg.GroupSchema = conf.DatabaseTableSchemas.Task, conf.DatabaseTableSchemas.Group
	return opener(cfg, "db+")
}

// databaseURL is the URL after the backend's name and +; "": there is none.
func databaseURL(backendURL string) string {
	scheme, _, hasURL := strings.Cut(backendURL, "://")
	name, _, ok := strings.Cut(scheme, "+")
	if !hasURL || !ok {
		return ""
	}
	return backendURL[len(name)+1:]
}

func common(cs *fromsettings.Connections, conf *settings.Settings) sqlbackend.Config {
	return sqlbackend.Config{
		Extended: conf.ResultExtended, Serializer: conf.ResultSerializer,
		Expires: conf.ResultExpires, Connections: conf.DatabaseEngineOptions.PoolSize, Logger: cs.Logger,
	}
}

func opener(cfg sqlbackend.Config, prefix string) (at connection.Server, open func() (*fromsettings.Results, error), err error) {
	url, ignored, err := cfg.Source()
	if err != nil {
		return at, nil, fmt.Errorf("result backend: %w", err)
	}
	scheme, _, _ := strings.Cut(url, "://")
	at = connection.Server{Scheme: prefix + scheme, URL: prefix + url, Ignored: ignored}
	return at, func() (*fromsettings.Results, error) {
		b, err := sqlbackend.New(cfg)
		if err != nil {
			return nil, err
		}
		return &fromsettings.Results{
			Store: b, Loader: b, Ping: b.Ping, Reconnects: b.Reconnects, Misconfigured: sqlbackend.Misconfigured, Close: b.Close,
		}, nil
	}, nil
}
