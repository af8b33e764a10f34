package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/djangobeat"
	"github.com/apium/apium/beat/redbeat"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/settings/connection"
)

// scheduler is what a scheduler of Celery's comes to: sources besides beat_schedule.
type scheduler struct {
	name        string // for the banner
	sources     []beat.Source
	maxInterval time.Duration // Celery's for it; 0: the default
	closers     []func() error
}

func (s *scheduler) close() error {
	var errs []error
	for _, end := range s.closers {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// schedulerKind opens what a scheduler has its entries in.
type schedulerKind struct {
	alias string   // a short name; "": there is none
	names []string // as Celery's users write it; . and : mean the same
	open  func(ctx context.Context, c *cli.Context, conf *settings.Settings, log *slog.Logger) (scheduler, error)
}

// schedulers are all that there are.
var schedulers = []schedulerKind{
	{"", []string{"celery.beat.PersistentScheduler", "celery.beat.Scheduler"}, openSettings},
	{"django", []string{"django_celery_beat.schedulers.DatabaseScheduler"}, openDjango},
	{"redbeat", []string{"redbeat.RedBeatScheduler", "redbeat.schedulers.RedBeatScheduler"}, openRedBeat},
	{"", []string{"djcelery.schedulers.DatabaseScheduler"}, openDjcelery},
}

// openSettings is the scheduler of beat_schedule, which every beat sends.
func openSettings(context.Context, *cli.Context, *settings.Settings, *slog.Logger) (scheduler, error) {
	return scheduler{}, nil
}

// databaseInterval is the longest pause of Celery's schedulers in a database.
const databaseInterval = 5 * time.Second

// openDjango opens the tables of django-celery-beat, and openDjcelery those of django-celery.
func openDjango(_ context.Context, c *cli.Context, conf *settings.Settings, _ *slog.Logger) (scheduler, error) {
	return openTables(c, conf, false)
}

func openDjcelery(_ context.Context, c *cli.Context, conf *settings.Settings, _ *slog.Logger) (scheduler, error) {
	return openTables(c, conf, true)
}

func openTables(c *cli.Context, conf *settings.Settings, old bool) (scheduler, error) {
	cfg := djangobeat.Config{Old: old, Static: app.BeatSchedule(conf).Entries(), Location: conf.Location(), NotAware: !conf.DjangoCeleryBeatTZAware}
	if cfg.NotAware { // as without USE_TZ; DATABASES says it itself
		cfg.DatesIn = cfg.Location
	}
	database := conf.BeatDatabase
	if database.IsZero() {
		database = conf.Database
	}
	switch url := cmp.Or(c.String("database"), database.URL); {
	case url != "":
		cfg.URL = url
	case database.Django != nil:
		cfg.Django = database.Django
	default:
		cfg.URL = os.Getenv("DATABASE_URL")
	}
	if cfg.URL == "" && cfg.Django == nil {
		return scheduler{}, usage(c, fmt.Errorf("scheduler '%s': which database has the entries? Name it with --database URL, DATABASE_URL or "+
			"the setting apium_beat_database, or the Django project with -A", conf.BeatScheduler), false)
	}
	source, err := djangobeat.New(cfg)
	if err != nil {
		return scheduler{}, usage(c, err, false)
	}
	return scheduler{sources: []beat.Source{source}, maxInterval: databaseInterval, closers: []func() error{source.Close}}, nil
}

// openRedBeat opens RedBeat's keys.
func openRedBeat(_ context.Context, c *cli.Context, conf *settings.Settings, log *slog.Logger) (scheduler, error) {
	cfg := redbeat.Config{
		URL: conf.RedBeatRedisURL, Connection: conf.RedBeatRedisOptions, TLS: conf.RedBeatRedisUseSSL, KeyPrefix: conf.RedBeatKeyPrefix,
		LockTimeout: conf.RedBeatLockTimeout, Location: conf.Location(), Static: app.BeatSchedule(conf).Entries(), Logger: log,
	}
	places, err := readBroker(c, conf)
	if err != nil {
		return scheduler{}, err
	}
	// What RedBeat's settings leave out is as the broker has it.
	cfg.URL = cmp.Or(cfg.URL, places.WriteURL, places.BrokerURL)
	if !conf.IsSet("redbeat_redis_options") {
		cfg.Connection = places.Redis.Publisher.Connection
	}
	if cfg.TLS == nil {
		cfg.TLS = places.Redis.Publisher.TLS
	}
	if key := conf.RedBeatLockKey; key != nil {
		cfg.LockKey, cfg.NoLock = *key, *key == ""
	}
	server, err := cfg.Server()
	if err != nil {
		return scheduler{}, usage(c, err, false)
	}
	cfg.BesideBroker = sameDatabase(server, places.Written)
	source, err := redbeat.New(cfg)
	if err != nil {
		return scheduler{}, usage(c, err, false)
	}
	return scheduler{sources: []beat.Source{source}, closers: []func() error{source.Close}}, nil
}

// sameDatabase tells whether two servers are one, with the same database and for the same user.
func sameDatabase(a, b connection.Server) bool {
	return a.Host == b.Host && a.Port == b.Port && a.DB == b.DB && a.Username == b.Username && a.TLS == b.TLS &&
		(a.Scheme == "sentinel") == (b.Scheme == "sentinel") && len(a.Others)+len(b.Others) == 0
}

// schedulerAliases are the names that -S shows.
func schedulerAliases() (names []string) {
	for _, kind := range schedulers {
		if kind.alias != "" {
			names = append(names, kind.alias)
		} else {
			names = append(names, kind.names[0])
		}
	}
	return names
}

// openScheduler opens the scheduler that the settings name.
func openScheduler(ctx context.Context, c *cli.Context, conf *settings.Settings, log *slog.Logger) (scheduler, error) {
	name := strings.ReplaceAll(conf.BeatScheduler, ":", ".")
	for _, kind := range schedulers {
		if name == "" || name == kind.alias || slices.Contains(kind.names, name) {
			s, err := kind.open(ctx, c, conf, log)
			s.name = kind.names[0]
			return s, err
		}
	}
	if !strings.Contains(name, ".") {
		return scheduler{}, usage(c, fmt.Errorf("scheduler '%s': there is none of that name.%s Schedulers are %s", conf.BeatScheduler,
			didYouMean(name, schedulerAliases(), ""), strings.Join(schedulerAliases(), ", ")), false)
	}
	return scheduler{}, usage(c, fmt.Errorf("scheduler '%s': it is a class in Python, and cannot be used here. Schedulers are %s; "+
		"or run Python's celery beat beside the workers", conf.BeatScheduler, strings.Join(schedulerAliases(), ", ")), false)
}
