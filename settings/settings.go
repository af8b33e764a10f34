package settings

import (
	"encoding/json"
	"time"
)

// Settings are Celery's settings that mean something to a worker or producer in Go,
// each with Celery's default unless it was given. A pointer is nil where Celery has
// None and that differs from every value.
type Settings struct {
	// Broker.
	BrokerURL                      string           // several, for failover, are joined with ;
	BrokerReadURL                  string           // for consuming; "": BrokerURL
	BrokerWriteURL                 string           // for publishing; "": BrokerURL
	BrokerTransport                string           // scheme of the URL made of BrokerHost and its like; "": as in BrokerURL
	BrokerTransportOptions         TransportOptions // of the connection: visibility_timeout, priority_steps, global_keyprefix and others, as kombu has them
	BrokerConnectionTimeout        time.Duration    // until connected; 0: 10 s, where Celery has 4
	BrokerConnectionRetry          bool             // reconnect after a loss
	BrokerConnectionRetryOnStartup *bool            // try again at the start; nil: as BrokerConnectionRetry
	BrokerConnectionMaxRetries     int              // at the start; 0: for ever
	BrokerPoolLimit                int              // connections that wait for messages, and two more; -1: Python's None, no limit
	BrokerFailoverStrategy         string           // which server of several comes next: round-robin or shuffle; "": round-robin
	BrokerUseSSL                   *TLS             // options of TLS, as ssl_*; nil: as the URL says
	BrokerHost                     string           // stands in for BrokerURL when that is not given
	BrokerPort                     int              // port beside BrokerHost
	BrokerUser                     string           // user beside BrokerHost
	BrokerPassword                 string           // password beside BrokerHost
	BrokerVhost                    string           // virtual host or database beside BrokerHost

	// RabbitMQ.
	BrokerHeartbeat                      time.Duration // asked for on the connection that consumes; 0: none
	BrokerLoginMethod                    string        // PLAIN, AMQPLAIN or EXTERNAL; "": PLAIN
	BrokerNativeDelayedDeliveryQueueType string        // of the queues in which tasks wait for their ETA
	ControlQueueTTL                      time.Duration // of requests in a worker's mailbox; 0: none
	ControlQueueExpires                  time.Duration // of a mailbox that nobody reads; 0: never
	ControlQueueExclusive                bool          // mailboxes are deleted with their connection
	ControlQueueDurable                  bool          // mailboxes outlive a restart of the broker
	EventQueueTTL                        time.Duration // of events in a receiver's queue; 0: none
	EventQueueExpires                    time.Duration // of such a queue that nobody reads; 0: never
	EventQueueExclusive                  bool          // queues of events are deleted with their connection
	EventQueueDurable                    bool          // queues of events outlive a restart of the broker
	ResultPersistent                     *bool         // results of rpc:// outlive the broker; nil: they do not

	// Results.
	ResultAcceptContent       []string      // nil: as AcceptContent
	RedisBackendUseSSL        *TLS          // options of TLS, as ssl_*; nil: as the URL says
	RedisDB                   int           // if the URL has none
	RedisHost                 string        // of a ResultBackend that is just redis
	RedisUsername             string        // if the URL has none
	RedisPassword             string        // if the URL has none
	RedisPort                 int           // if the URL has none
	RedisClientName           string        // CLIENT SETNAME on every connection; "": none
	RedisSocketTimeout        time.Duration // for a reply; 0: 30 s, where Celery has 120
	RedisSocketConnectTimeout time.Duration // until connected; 0: 10 s
	// RedisBackendHealthCheckInterval is how long a connection may be idle until it is tried; 0: the connection's default.
	RedisBackendHealthCheckInterval time.Duration
	ResultBackend                   string                 // URL; "": results are not stored
	ResultCompression               string                 // of results; "": none
	ResultExpires                   time.Duration          // how long results are kept; 0: for ever
	ResultChordExpires              *time.Duration         // of chords; nil: as ResultExpires
	ResultFailureExpires            *time.Duration         // of failures; nil: as ResultExpires
	ResultExtended                  bool                   // store name, arguments, worker and queue with results
	ResultSerializer                string                 // of results
	ResultBackendTransportOptions   ResultTransportOptions // of the connection: global_keyprefix, result_chord_ordered and others
	ResultChordRetryInterval        time.Duration          // of chord_unlock
	ResultChordJoinTimeout          time.Duration          // for the results of a chord

	// Results in SQL.
	DatabaseURL           string        // of a ResultBackend that is just database
	DatabaseEngineOptions EngineOptions // of the connections
	DatabaseTableNames    TableNames    // of Celery's database backend
	DatabaseTableSchemas  TableNames    // of Celery's database backend
	DatabasePickle        bool          // results of Celery's database backend as Celery before 5.7 reads them

	// Tasks.
	TaskAcksLate                       bool          // acknowledge after the task has run
	TaskAcksOnFailureOrTimeout         bool          // acknowledge late-acknowledged tasks that failed or timed out
	TaskAcksOnFailure                  *bool         // of these, those that failed; nil: as TaskAcksOnFailureOrTimeout
	TaskAcksOnTimeout                  *bool         // of these, those that timed out; nil: as TaskAcksOnFailureOrTimeout
	TaskAnnotations                    Annotations   // options of tasks by name
	TaskCompression                    string        // of messages: gzip, bzip2, zstd and others; "": none
	TaskCreateMissingQueues            bool          // a queue that TaskQueues does not name may be used
	TaskCreateMissingQueueExchangeType string        // of exchanges of such queues; "": TaskDefaultExchangeType
	TaskCreateMissingQueueType         string        // of such queues in RabbitMQ: classic or quorum
	TaskDefaultQueueType               string        // of TaskDefaultQueue in RabbitMQ, if there are no TaskQueues: classic or quorum
	TaskQueueMaxPriority               *int          // x-max-priority of queues that say none; nil: none
	TaskInheritParentPriority          bool          // a task sent by a task gets its priority
	TaskDefaultDeliveryMode            int           // 1: transient, 2: persistent; written into messages
	TaskDefaultQueue                   string        // where a task goes that no route sends elsewhere
	TaskDefaultExchange                string        // of TaskDefaultQueue; "": of the same name
	TaskDefaultExchangeType            string        // of TaskDefaultExchange: direct, topic or fanout
	TaskDefaultRoutingKey              string        // of TaskDefaultQueue; "": its name
	TaskDefaultRateLimit               *string       // "10/s", "100/m", "5/h" or tasks a second; nil: none
	TaskDefaultPriority                *int          // of messages, 0 to 9; nil: none
	TaskIgnoreResult                   bool          // store no results
	TaskProtocol                       int           // of the messages sent: 1 or 2
	TaskPublishRetry                   bool          // try again when publishing fails
	TaskPublishRetryPolicy             RetryPolicy   // how
	TaskQueues                         []Queue       // queues that are declared, and consumed unless -Q says which
	TaskRejectOnWorkerLost             *bool         // requeue a late-acknowledged task whose worker died
	TaskRetryOnWorkerLost              bool          // retry a task whose worker died
	TaskReprMaxlevels                  int           // how deep argsrepr and kwargsrepr go
	TaskRoutes                         Routes        // where tasks go, by name, pattern or regular expression
	TaskSendSentEvent                  bool          // send task-sent events
	TaskSerializer                     string        // of messages
	TaskSoftTimeLimit                  time.Duration // after which a task is told to end; 0: none
	TaskTimeLimit                      time.Duration // after which a task is ended; 0: none
	TaskStoreErrorsEvenIfIgnored       bool          // store failures of tasks whose results are ignored
	TaskTrackStarted                   bool          // store the state STARTED
	TaskAllowErrorCbOnChordHeader      bool          // errbacks of a chord are put on its header tasks, too

	// Worker.
	WorkerCancelLongRunningTasksOnConnectionLoss bool          // cancel late-acknowledged tasks when the broker is lost
	WorkerSoftShutdownTimeout                    time.Duration // between a warm and a cold shutdown; 0: none
	WorkerEnableSoftShutdownOnIdle               bool          // wait so even if no task runs
	WorkerConcurrency                            int           // tasks at the same time; 0: the number of CPUs
	WorkerDirect                                 bool          // consume from a queue of the worker's own, <hostname>.dq2
	WorkerDisableRateLimits                      bool          // no rate limits
	WorkerDeduplicateSuccessfulTasks             bool          // do not run a redelivered task that has succeeded
	WorkerEnableRemoteControl                    bool          // answer to celery inspect and control
	WorkerLogColor                               *bool         // lines have colours; nil: if the log is a terminal
	WorkerLogFormat                              string        // of log lines; "": Celery's default
	WorkerTaskLogFormat                          string        // of what tasks log; "": Celery's default
	WorkerPool                                   string        // solo runs one task at a time; all others are goroutines, as is ""
	WorkerPrefetchMultiplier                     *int          // messages held for each concurrent task; 0: no limit, nil: 4, and more of short tasks
	WorkerETATaskLimit                           int           // messages with an ETA held in memory at most; 0: 100,000
	WorkerDisablePrefetch                        bool          // hold only what a free slot can run
	WorkerSendTaskEvents                         bool          // send task events
	WorkerStateDB                                string        // file that keeps revoked tasks; "": none

	// Beat.
	BeatSchedule                map[string]json.RawMessage // periodic tasks by name, each as scripts/export_settings.py writes it; package beat reads them
	BeatScheduler               string                     // where periodic tasks come from, as -S of celery beat has it
	BeatScheduleFilename        string                     // file of Celery's beat; not needed, as the broker keeps what was sent
	BeatMaxLoopInterval         time.Duration              // longest time between two looks at the schedule; 0: as the scheduler has it
	BeatCronStartingDeadline    *time.Duration             // how late a crontab may be sent; nil: however late
	BeatEnableRemoteControl     bool                       // beat answers to ping
	BeatRemoteControlMaxTickAge *time.Duration             // 0: it answers however long it has done nothing; nil: twice its longest interval

	// RedBeat and django-celery-beat.
	RedBeatRedisURL         string            // where RedBeat has its keys; "": BrokerURL
	RedBeatRedisUseSSL      *TLS              // options of TLS, as ssl_*; nil: as the URL says
	RedBeatRedisOptions     ConnectionOptions // of the connection
	RedBeatKeyPrefix        string            // of all its keys
	RedBeatLockKey          *string           // of the lock; nil: made of RedBeatKeyPrefix; "": there is no lock
	RedBeatLockTimeout      time.Duration     // of the lock; 0: RedBeat's default
	DjangoCeleryBeatTZAware bool              // crontabs have zones of their own

	// The rest.
	AcceptContent    []string // serializers, by name or content type
	EnableUTC        bool     // dates are UTC, not in Timezone
	Timezone         string   // IANA name; "": UTC, or local time without EnableUTC
	ControlExchange  string   // of remote control
	EventQueuePrefix string   // of the queues of who listens to events
	EventSerializer  string
	EventExchange    string // of events

	// Apium's own, named apium_*.
	UnknownTask     UnknownTasks  // what becomes of messages whose task has no handler
	Share           Shares        // by task, how many percent of its messages run in Go; the others stay with Python
	Shadow          Shares        // by task, of how many percent of what Python runs Go runs a copy, too, to compare
	MaxRedeliveries int           // deliveries after a worker died, before a message goes to the dead letters; 0: no limit
	MaxDecompressed int           // bytes that a compressed message may become; 0: 200 times its size and 16 MiB, at most 256 MiB
	MaxConcurrency  int           // how many tasks at a time remote control may have the pool run; default 1000
	ParkAfter       time.Duration // tasks due later than this are parked in the broker; 0: 10 s
	AliveFor        time.Duration // after its last sign of life a worker is taken for dead; default 6 s, 1 s at least
	ShutdownTimeout time.Duration // of a warm shutdown; 0: as long as tasks take
	SettleTimeout   time.Duration // how long a warm shutdown waits for Redis if it is away
	Database        Database      // with Django's tables: results of django-db, entries of django-celery-beat
	BeatDatabase    Database      // with the latter, if it is another
	MetricsAddr     string        // of the Prometheus endpoint; "": none
	LogFormat       string        // text or json
	BeatScheduleID  string        // what all beats of a project have in common, and no other's on its broker; "": as the app is called

	// Warnings say, in one line each, what was given without having an effect. Resolve keeps
	// those that were appended.
	Warnings []string

	given    map[string]given // by name, what was given as Load or Resolve read it
	changed  map[string]bool  // of these, what differs from the default
	inPython bool             // there is an app in Python
	unread   []string         // warnings about what is no setting
	warned   []string         // Warnings as Load or Resolve left them
	resolved map[string]any   // every value as it came out of Load or Resolve, as a file would have it; nil: Default's
}

// Default returns Celery's defaults, to be changed by assignment.
func Default() *Settings {
	s := &Settings{changed: map[string]bool{}, given: map[string]given{}}
	d := &decoder{}
	for _, e := range entries() {
		if e.field != nil && !e.ours {
			d.assign(e.field(s), e.def)
		}
	}
	return s
}

// IsSet reports whether a setting was given, by its Celery name: task_acks_late. Like Changed,
// Origin and Table it knows what Load and Resolve have read; what was assigned since then is
// news to it.
func (s *Settings) IsSet(name string) bool {
	_, ok := s.given[name]
	return ok
}

// Changed reports whether a setting was given another value than Celery's default.
func (s *Settings) Changed(name string) bool { return s.changed[name] }

// Origin tells where a setting was given; that of a default is the zero value.
func (s *Settings) Origin(name string) Origin { return s.given[name].origin }

// Location is the time zone of dates without an offset, as Celery's app.timezone.
func (s *Settings) Location() *time.Location {
	if s.Timezone == "" {
		if s.EnableUTC {
			return time.UTC
		}
		return time.Local
	}
	location, err := time.LoadLocation(s.Timezone)
	if err != nil { // Load has tried it
		return time.UTC
	}
	return location
}
