package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// asRead is what a command line says, and what comes of it.
type asRead struct {
	*workerSettings
	fromsettings.Connections
	worker                       worker.Config
	warnings                     []string
	hostname                     string
	logFormat, metricsAddr       string
	taskEvents, withoutHeartbeat bool
	heartbeatInterval            time.Duration
}

// readSettings runs the worker command up to the point where it would connect.
func readSettings(t *testing.T, args ...string) *asRead {
	t.Helper()
	p := &program{name: "apium", reg: tasks.NewRegistry()}
	app := p.app()
	s := &asRead{}
	app.Command("worker").Action = func(c *cli.Context) (err error) {
		if s.workerSettings, err = readWorkerSettings(c, nil); err != nil {
			return err
		}
		s.hostname, s.withoutHeartbeat, s.heartbeatInterval = s.opts.Hostname, s.opts.WithoutHeartbeat, s.opts.HeartbeatInterval
		s.logFormat, s.metricsAddr, s.taskEvents = s.conf.LogFormat, s.conf.MetricsAddr, s.conf.WorkerSendTaskEvents
		s.worker = fromsettings.Worker(s.conf, s.hostname)
		queues, err := fromsettings.Consumed(s.conf, s.opts.Queues, s.opts.ExcludeQueues, s.hostname)
		if err != nil {
			return err
		}
		s.Connections, err = fromsettings.ForWorker(s.conf, s.hostname, queues, fromsettings.Python{}, nil)
		s.warnings = slices.Concat(s.conf.Warnings, fromsettings.UnheededWarnings(s.conf, s.opts.Python != nil), s.workerSettings.warnings, s.Warnings)
		return err
	}
	options, err := normalise(app, args)
	if err == nil {
		err = app.RunContext(t.Context(), append([]string{"apium"}, options...))
	}
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return s
}

func TestWorkerDefaults(t *testing.T) {
	t.Parallel()
	s := readSettings(t, "worker")
	if got := s.Broker.String(); got != "redis://localhost:6379/0" {
		t.Errorf("broker %s", got)
	}
	if s.Redis.Results.URL != "" || s.worker.PrefetchMultiplier != 0 || s.worker.Concurrency < 1 || levelName(s.level) != "WARNING" ||
		!strings.HasPrefix(s.hostname, "celery@") || s.Redis.Results.Expires != 24*time.Hour || *s.worker.Defaults.AcksLate {
		t.Errorf("defaults: %+v", s)
	}
	if diff := cmp.Diff([]broker.Queue{{Name: "celery", Exchange: "celery", ExchangeType: "direct", RoutingKey: "celery"}}, s.Queues); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
}

func TestWorkerFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args string
		get  func(s *asRead) any
		want any
	}{
		{"worker -c 7", func(s *asRead) any { return s.worker.Concurrency }, 7},
		{"worker -P solo -c 7", func(s *asRead) any { return s.worker.Concurrency }, 1},
		{"worker --prefetch-multiplier 0", func(s *asRead) any { return s.worker.PrefetchMultiplier }, worker.UnlimitedPrefetch},
		{"worker --disable-prefetch", func(s *asRead) any { return s.worker.PrefetchMultiplier }, 1},
		{"worker -Q b,a,b,c -X c", func(s *asRead) any { return strings.Join(queueNames(s), " ") }, "b a"},
		{"worker -n w%%@x", func(s *asRead) any { return s.worker.Hostname }, "w%@x"},
		{"worker -n w@x -f /l/%n-%h.log", func(s *asRead) any { return s.logfile }, "/l/w-x.log"},
		{"worker --result-expires 0", func(s *asRead) any { return s.Redis.Results.Expires < 0 }, true},
		{"worker --result-expires 1h", func(s *asRead) any { return s.Redis.Results.Expires }, time.Hour},
		{"worker --result-backend redis redis_host=h redis_port=7 redis_db=3", backendOf, "redis://h:7/3"},
		{"worker --visibility-timeout 90", func(s *asRead) any { return s.Redis.Consumer.VisibilityTimeout }, 90 * time.Second},
		{"worker --shutdown-timeout 1.5", func(s *asRead) any { return s.worker.ShutdownTimeout }, 1500 * time.Millisecond},
		{"worker -n w1@%h -S /run/%n.state", func(s *asRead) any { return s.worker.StateDB }, "/run/w1.state"},
		{"worker -n w1@%h worker_state_db=/run/%n.db", func(s *asRead) any { return s.worker.StateDB }, "/run/w1.db"},
		{"worker --accept-content json,pickle", func(s *asRead) any { return strings.Join(s.worker.AcceptContent, " ") }, "json pickle"},
		{"worker --acks-late", func(s *asRead) any { return *s.worker.Defaults.AcksLate }, true},
		{"worker --track-started", func(s *asRead) any { return *s.worker.Defaults.TrackStarted }, true},
		{"worker --ignore-result", func(s *asRead) any { return *s.worker.Defaults.IgnoreResult }, true},
		{"worker --time-limit 1m --soft-time-limit 30", func(s *asRead) any { return *s.worker.Defaults.TimeLimit - *s.worker.Defaults.SoftTimeLimit }, 30 * time.Second},
		{"worker -S revoked.db", func(s *asRead) any { return s.worker.StateDB }, "revoked.db"},
		{"worker --result-extended", func(s *asRead) any { return s.worker.ResultExtended }, true},
		{"worker --result-backend redis://:pw@h/3", func(s *asRead) any { return s.Backend.String() }, "redis://:**@h:6379/3"},
		{"worker --result-backend disabled://", func(s *asRead) any { return s.Redis.Results.URL == "" }, true},
		{"worker --queue-order-strategy priority", func(s *asRead) any { return s.Redis.Consumer.QueueOrderStrategy }, "priority"},
		{"worker --broker-transport-options global_keyprefix=x:", func(s *asRead) any { return s.Redis.Publisher.GlobalKeyprefix }, "x:"},
		{
			`worker --broker-transport-options {"visibility_timeout":7200,"sep":"\u0006","socket_timeout":null}`,
			func(s *asRead) any { return s.Redis.Consumer.VisibilityTimeout.String() + s.Redis.Publisher.Sep }, "2h0m0s\x06",
		},
		{"worker --broker-transport-options priority_steps=0,5", func(s *asRead) any { return len(s.Redis.Consumer.PrioritySteps) }, 2},
		{
			"worker --broker-transport-options priority_steps=[0,3,9] --visibility-timeout 3",
			func(s *asRead) any { return s.Redis.Consumer.PrioritySteps[2] }, 9,
		},
		{"worker --broker-transport-options ack_emulation=False", func(s *asRead) any { return s.Redis.Consumer.NoAckEmulation }, true},
		{"worker --broker-transport-options fanout_prefix=False", func(s *asRead) any { return s.Redis.Publisher.NoFanoutPrefix }, true},
		{"worker --broker-transport-options fanout_prefix=true", func(s *asRead) any { return s.Redis.Consumer.NoFanoutPrefix }, false},
		{"worker --broker-transport-options fanout_prefix=/{db}x.", func(s *asRead) any { return s.Redis.Consumer.FanoutPrefix }, "/{db}x."},
		{"worker --broker-transport-options fanout_patterns=False", func(s *asRead) any { return s.Redis.Publisher.NoFanoutPatterns }, true},
		{"worker --broker-transport-options deadletter_queue=dead", func(s *asRead) any { return s.Redis.Publisher.DeadletterQueue }, "dead"},
		{
			"worker --result-backend redis://h --result-backend-transport-options global_keyprefix=y",
			func(s *asRead) any { return s.Redis.Results.GlobalKeyprefix }, "y",
		},
		{"worker", func(s *asRead) any { return s.taskEvents }, false},
		{"worker -E", func(s *asRead) any { return s.taskEvents }, true},
		{"worker --events --without-heartbeat", func(s *asRead) any { return s.taskEvents && s.withoutHeartbeat }, true},
		{"worker --heartbeat-interval 5", func(s *asRead) any { return s.heartbeatInterval }, 5 * time.Second},
		{
			"worker --without-gossip -P gevent -O fair --max-tasks-per-child 10 --loader x",
			func(s *asRead) any { return len(s.warnings) }, 4,
		},
	}
	for _, test := range tests {
		if got := test.get(readSettings(t, strings.Fields(test.args)...)); got != test.want {
			t.Errorf("%s: got %v, want %v", test.args, got, test.want)
		}
	}
}

// Not parallel: it changes the environment.
func TestEnvironment(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		args string
		get  func(s *asRead) any
		want any
	}{
		{map[string]string{"CELERY_BROKER_URL": "redis://a"}, "worker", brokerOf, "redis://a:6379/0"},
		{map[string]string{"CELERY_BROKER_URL": "redis://a", "BROKER_URL": "redis://b"}, "worker", brokerOf, "redis://b:6379/0"},
		{map[string]string{"CELERY_BROKER_URL": "redis://a"}, "worker -b redis://c", brokerOf, "redis://c:6379/0"},
		{map[string]string{"CELERY_RESULT_BACKEND": "redis://a"}, "worker", backendOf, "redis://a:6379/0"},
		{map[string]string{"RESULT_BACKEND": "redis://b", "CELERY_RESULT_BACKEND": "redis://a"}, "worker", backendOf, "redis://b:6379/0"},
		{map[string]string{"CELERY_WORKER_CONCURRENCY": "3"}, "worker", func(s *asRead) any { return s.worker.Concurrency }, 3},
		{map[string]string{"CELERY_WORKER_CONCURRENCY": "3"}, "worker -c 4", func(s *asRead) any { return s.worker.Concurrency }, 4},
		{map[string]string{"CELERY_WORKER_QUEUES": "a,b"}, "worker", func(s *asRead) any { return len(queueNames(s)) }, 2},
		{map[string]string{"CELERY_WORKER_HOSTNAME": "z@h"}, "worker", func(s *asRead) any { return s.hostname }, "z@h"},
		{map[string]string{"CELERY_WORKER_LOGLEVEL": "debug"}, "worker", func(s *asRead) any { return levelName(s.level) }, "DEBUG"},
		{map[string]string{"CELERY_WORKER_ACKS_LATE": "true"}, "worker", func(s *asRead) any { return *s.worker.Defaults.AcksLate }, true},
		{map[string]string{"CELERY_WORKER_POOL": "gevent"}, "worker", func(s *asRead) any { return len(s.warnings) }, 1},
		{
			map[string]string{"CELERY_BROKER_TRANSPORT_OPTIONS": `{"global_keyprefix": "e"}`},
			"worker",
			func(s *asRead) any { return s.Redis.Consumer.GlobalKeyprefix }, "e",
		},
		{map[string]string{"APP": "proj"}, "worker -b redis://a", func(s *asRead) any { return s.app }, "proj"},
	} {
		t.Run("", func(t *testing.T) {
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			if got := test.get(readSettings(t, strings.Fields(test.args)...)); got != test.want {
				t.Errorf("%v %s: got %v, want %v", test.env, test.args, got, test.want)
			}
		})
	}
}

func brokerOf(s *asRead) any  { return s.Broker.String() }
func backendOf(s *asRead) any { return s.Backend.String() }
