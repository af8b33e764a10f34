package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/fromsettings"
)

// Categories of --help, in Celery's words where it has them.
const (
	workerCategory  = "Worker Options"
	poolCategory    = "Pool Options"
	queueCategory   = "Queue Options"
	resultCategory  = "Task and Result Options"
	eventCategory   = "Event Options"
	redisCategory   = "Redis Options"
	daemonCategory  = "Daemonization Options"
	tryCategory     = "To Try Out"
	ignoredCategory = "Without Effect Here"
)

// globalFlags may stand before or after the command.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "app", Aliases: []string{"A"}, EnvVars: []string{"APP", "CELERY_APP"},
			Usage: "the Celery app `APP`, as for celery -A: its settings are read and its tasks run in child processes; with a settings file (--config), only a name",
		},
		&cli.StringFlag{
			Name: "python", EnvVars: []string{"APIUM_PYTHON"},
			Usage: "the `PYTHON` that loads the app (default: that of VIRTUAL_ENV, or of the celery command, or python3)",
		},
		&cli.StringFlag{
			Name: "broker", Aliases: []string{"b"},
			EnvVars: []string{"BROKER_URL", "CELERY_BROKER", "CELERY_BROKER_URL"},
			Usage:   "broker `URL`: redis, rediss, redis+socket, sentinel, amqp, amqps (default: " + fromsettings.DefaultURL + ")",
		},
		&cli.StringFlag{
			Name: "result-backend", EnvVars: []string{"RESULT_BACKEND", "CELERY_RESULT_BACKEND"},
			Usage: "result backend `URL` (default: results are disabled)",
		},
		&cli.StringSliceFlag{
			Name: "broker-transport-options", EnvVars: []string{"CELERY_BROKER_TRANSPORT_OPTIONS"},
			Usage: "broker_transport_options: `KEY=VALUE`, repeatable, or one JSON object",
		},
		&cli.StringSliceFlag{
			Name: "result-backend-transport-options", EnvVars: []string{"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS"},
			Usage: "result_backend_transport_options: `KEY=VALUE`, repeatable, or one JSON object",
		},
		&cli.StringFlag{
			Name: "config", EnvVars: []string{"APIUM_SETTINGS", "CELERY_CONFIG", "CONFIG_MODULE"},
			Usage: "read Celery's settings from `FILE` (TOML, YAML or JSON), as scripts/export_settings.py writes it; beside -A it may be a Python module, as Celery's",
		},
		&cli.StringFlag{
			Name: "workdir", EnvVars: []string{"CELERY_WORKDIR"},
			Usage: "change to `DIRECTORY` first",
		},
		&cli.BoolFlag{
			Name: "no-color", Aliases: []string{"C"}, EnvVars: []string{"NO_COLOR", "CELERY_NO_COLOR"},
			Usage: "no colors", DisableDefaultText: true,
		},
		&cli.BoolFlag{
			Name: "quiet", Aliases: []string{"q"}, EnvVars: []string{"CELERY_QUIET"},
			Usage: "no banner", DisableDefaultText: true,
		},
		&cli.StringFlag{Name: "loader", EnvVars: []string{"CELERY_LOADER"}, Hidden: true},
		&cli.BoolFlag{Name: "skip-checks", EnvVars: []string{"SKIP_CHECKS", "CELERY_SKIP_CHECKS"}, Hidden: true},
		&cli.BoolFlag{Name: "version", Usage: "print the version", DisableDefaultText: true},
		helpFlag(),
	}
}

func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help", DisableDefaultText: true}
}

// workerFlags are the worker's own. Every one can be given in the environment as
// CELERY_WORKER_<OPTION>.
func workerFlags() []cli.Flag {
	flags := []cli.Flag{
		text(workerCategory, "hostname", "n", "celery@%h", "node `NAME`; expands %h (host), %n (its first part), %d (domain)"),
		text(workerCategory, "loglevel", "l", "WARNING", "`LEVEL`: DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL"),
		text(workerCategory, "log-format", "", "text", "`FORMAT` of log lines: text, as Celery's, or json"),
		text(workerCategory, "metrics-addr", "", "", "serve Prometheus metrics, /livez and /readyz at `[HOST]:PORT`; without a host, for this machine only"),
		duration(workerCategory, "shutdown-timeout", "`SECONDS` a warm shutdown waits for running tasks (default: as long as they take)"),
		duration(workerCategory, "settle-timeout", "`SECONDS` a warm shutdown waits, after its tasks, for a Redis that is away (default: 5)"),

		text(poolCategory, "concurrency", "c", "auto", "`NUMBER` of tasks that run at the same time; auto: number of CPUs"),
		text(poolCategory, "autoscale", "", "", "`MAX,MIN`: let the number of tasks that run at the same time follow the load"),
		integer(poolCategory, "prefetch-multiplier", 4, "messages held per concurrent task; 0: no limit. Unless given, more while tasks are very short"),
		toggle(poolCategory, "disable-prefetch", "hold only what a free slot can run"),
		text(poolCategory, "pool", "P", "", "Celery's `POOL`, with -A: prefork, solo, threads, gevent or eventlet. Go handlers are goroutines; solo runs one task at a time"),

		text(queueCategory, "queues", "Q", "", "`QUEUES` to consume from, separated by commas (default: task_queues, or else celery)"),
		text(queueCategory, "exclude-queues", "X", "", "`QUEUES` not to consume from"),
		toggle(queueCategory, "purge", "drop all messages that wait in these queues, before the start", "discard"),

		texts(queueCategory, "unknown-task", "`POLICY` for tasks that are not registered: fail (default), leave, park or forward:QUEUE; "+
			"repeatable as QUEUE=POLICY for single queues"),
		texts(queueCategory, "share", "`TASK=PERCENT` of a task's messages run in Go, the others in Python; repeatable"),
		texts(queueCategory, "shadow", "`TASK[=PERCENT]`: of a task that runs in Python, run a copy in Go, too, and compare the results; repeatable"),
		integer(queueCategory, "max-redeliveries", 10, "deaths of workers that run a task until it is put among the dead letters; 0: no limit"),
		duration(queueCategory, "park-after", "`SECONDS` ahead from which tasks with an ETA wait in the broker, not in memory (default: 10)"),
		integer(queueCategory, "eta-task-limit", 100_000, "tasks with an ETA held in memory at most, about, and 128 MB of their messages (worker_eta_task_limit)"),

		duration(resultCategory, "time-limit", "`SECONDS` until a task is given up (task_time_limit)"),
		duration(resultCategory, "soft-time-limit", "`SECONDS` until a task is asked to stop (task_soft_time_limit)"),
		toggle(resultCategory, "acks-late", "acknowledge after the task has run, not before (task_acks_late)"),
		toggle(resultCategory, "ignore-result", "store no results (task_ignore_result)"),
		toggle(resultCategory, "track-started", "store the state STARTED (task_track_started)"),
		toggle(resultCategory, "result-extended", "store name, arguments, worker and queue with results"),
		text(resultCategory, "result-expires", "", "86400", "`SECONDS` results are kept; 0: for ever"),
		text(resultCategory, "accept-content", "", "json", "content `TYPES` to accept, separated by commas"),

		toggle(eventCategory, "task-events", "send the events of tasks, for monitors (worker_send_task_events)", "E", "events"),
		toggle(eventCategory, "without-heartbeat", "do not tell monitors that the worker lives"),
		toggle(eventCategory, "without-gossip", "do not listen to other workers"),
		toggle(eventCategory, "without-mingle", "do not exchange revoked tasks with other workers at the start"),
		duration(eventCategory, "heartbeat-interval", "`SECONDS` between heartbeats (default: 2)"),

		duration(redisCategory, "visibility-timeout", "`SECONDS` until a silent worker's messages go to others (default: 3600)"),
		text(redisCategory, "queue-order-strategy", "", "round_robin", "`STRATEGY`: round_robin, priority or sorted"),

		text(daemonCategory, "logfile", "f", "", "log to `FILE` instead of stderr; expands %n, %h, %d, %p, %i"),
		text(daemonCategory, "statedb", "S", "", "keep revoked tasks in `FILE` (worker_state_db)"),
		text(daemonCategory, "pidfile", "", "", "write the process id to `FILE`"),

		toggle(tryCategory, "embedded", "start a Redis in this process, in memory: broker and results"),
		toggle(tryCategory, demoTasksFlag, "serve the tasks demo.* on any broker, though there are no others: all other tasks fail"),
		integer(tryCategory, "port", 0, "`PORT` of the embedded Redis; 0: any free one"),
	}
	for _, f := range ignoredFlags {
		flags = append(flags, f.flag(cmp.Or(f.category, ignoredCategory), false, workerEnv(f.name)))
	}
	for _, f := range missingFlags {
		flags = append(flags, f.flag("", true, workerEnv(f.name)))
	}
	return slices.Concat(flags, shardFlags(), workerBeatFlags(), pythonFlags())
}

// celeryFlag is a flag of Celery's that does nothing in Go. choices are in Celery's order.
type celeryFlag struct {
	name, short string
	value       bool
	why         string
	choices     []string // nil: any

	category, usage string // of those that mean something with Python children; "": it does not
}

// ignoredFlags have no meaning in Go: without Python children, each gives one warning line.
var ignoredFlags = []celeryFlag{
	{"optimization", "O", true, "a task always goes to a free slot, as with -O fair", []string{"default", "fair"}, workerCategory, "Celery's `PROFILE`, with -A: default or fair"},
	{"max-tasks-per-child", "", true, "there are no child processes to replace", nil, poolCategory, "with -A, `NUMBER` of tasks after which a child is replaced (default: never)"},
	{"max-memory-per-child", "", true, "there are no child processes to replace", nil, poolCategory, "with -A, `KIB` of resident memory from which on a child is replaced when its task is done (default: never)"},
	{"pool-start-method", "", true, "there are no child processes", []string{"fork", "spawn"}, poolCategory, "with -A, `METHOD` by which children start: fork, or spawn, with which each loads the app itself (default: fork)"},
	{"include", "I", true, "tasks are compiled in", nil, queueCategory, "with -A, `MODULES` to import besides, separated by commas"},
	{"executable", "", true, "there is no Python here", nil, "", ""},
}

// missingFlags change what happens to tasks, or how the process lives, and do not
// work yet: leaving them out in silence would be worse than an error.
var missingFlags = []celeryFlag{
	{"detach", "D", false, "run the worker under systemd, a container or nohup", nil, "", ""},
	{"uid", "", true, "let the service manager choose the user", nil, "", ""},
	{"gid", "", true, "let the service manager choose the group", nil, "", ""},
	{"umask", "", true, "let the service manager set the umask", nil, "", ""},
}

func (f celeryFlag) flag(category string, hidden bool, env []string) cli.Flag {
	if f.value {
		return &cli.StringFlag{
			Name: f.name, Aliases: alias(f.short), Usage: cmp.Or(f.usage, f.why), Category: category, EnvVars: env, Hidden: hidden,
		}
	}
	return &cli.BoolFlag{
		Name: f.name, Aliases: alias(f.short), Usage: cmp.Or(f.usage, f.why), Category: category, EnvVars: env,
		Hidden: hidden, DisableDefaultText: true,
	}
}

// checkChoice refuses a value that is none of the choices, in Celery's words.
func (f celeryFlag) checkChoice(value string) error {
	if f.choices == nil {
		return nil
	}
	if err := oneOf(value, f.choices); err != nil {
		name := "'--" + f.name + "'"
		if f.short != "" {
			name = "'-" + f.short + "' / " + name
		}
		return fmt.Errorf("invalid value for %s: %w", name, err)
	}
	return nil
}

func (f celeryFlag) names() string {
	if f.short == "" {
		return "--" + f.name
	}
	return "-" + f.short + "/--" + f.name
}

func text(category, name, short, value, usage string) cli.Flag {
	return &cli.StringFlag{Name: name, Aliases: alias(short), Value: value, Usage: usage, Category: category, EnvVars: workerEnv(name)}
}

// texts may be given several times.
func texts(category, name, usage string) cli.Flag {
	return &cli.StringSliceFlag{Name: name, Usage: usage, Category: category, EnvVars: workerEnv(name)}
}

func integer(category, name string, value int, usage string) cli.Flag {
	return &cli.IntFlag{Name: name, Value: value, Usage: usage, Category: category, EnvVars: workerEnv(name)}
}

func toggle(category, name, usage string, aliases ...string) cli.Flag {
	return &cli.BoolFlag{
		Name: name, Aliases: aliases, Usage: usage, Category: category, EnvVars: workerEnv(name), DisableDefaultText: true,
	}
}

func duration(category, name, usage string) cli.Flag {
	return &cli.GenericFlag{Name: name, Value: new(seconds), Usage: usage, Category: category, EnvVars: workerEnv(name)}
}

func alias(short string) []string {
	if short == "" {
		return nil
	}
	return []string{short}
}

// workerEnv is the environment variable Celery reads for a worker option.
func workerEnv(name string) []string {
	return []string{"CELERY_WORKER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
}

// seconds is a flag given in seconds, as all of Celery's, or as a Go duration.
type seconds time.Duration

func (s *seconds) Set(value string) error {
	d, err := parseSeconds(value)
	if err != nil {
		return err
	}
	*s = seconds(d)
	return nil
}

func (s *seconds) String() string {
	if *s == 0 {
		return ""
	}
	return time.Duration(*s).String()
}

func parseSeconds(value string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(value, 64); err == nil {
		if !(f >= 0 && f <= maxSeconds) {
			return 0, fmt.Errorf("'%s' is not a number of seconds from 0 to %d", value, int64(maxSeconds))
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("'%s' is not a number of seconds, nor a duration like 1h30m", value)
	}
	return d, nil
}

// maxSeconds is a hundred years: more does not fit a Duration three times over.
const maxSeconds = 100 * 365 * 24 * 3600
