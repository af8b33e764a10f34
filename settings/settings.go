package settings

import (
	"time"
)

// Settings are Celery's settings that mean something to a worker or producer in Go,
// each with Celery's default unless it was given. A pointer is nil where Celery has
// None and that differs from every value.
type Settings struct {
	// Broker.
	BrokerURL                      string // several, for failover, are joined with ;
	BrokerReadURL                  string // for consuming; "": BrokerURL
	BrokerWriteURL                 string // for publishing; "": BrokerURL
	BrokerTransport                string // scheme of the URL made of BrokerHost and its like; "": as in BrokerURL
	BrokerTransportOptions         TransportOptions
	BrokerConnectionTimeout        time.Duration // until connected; 0: 10 s, where Celery has 4
	BrokerConnectionRetry          bool          // reconnect after a loss
	BrokerConnectionRetryOnStartup *bool         // try again at the start; nil: as BrokerConnectionRetry
	BrokerConnectionMaxRetries     int           // at the start; 0: for ever
	BrokerPoolLimit                int           // connections that wait for messages, and two more; -1: Python's None, no limit
	BrokerFailoverStrategy         string
	BrokerUseSSL                   *TLS   // nil: as the URL says
	BrokerHost                     string // stands in for BrokerURL when that is not given
	BrokerPort                     int
	BrokerUser                     string
	BrokerPassword                 string
	BrokerVhost                    string

	// Results.
	ResultAcceptContent       []string      // nil: as AcceptContent
	RedisBackendUseSSL        *TLS          // nil: as the URL says
	RedisDB                   int           // if the URL has none
	RedisHost                 string        // of a ResultBackend that is just redis
	RedisUsername             string        // if the URL has none
	RedisPassword             string        // if the URL has none
	RedisPort                 int           // if the URL has none
	RedisClientName           string        // CLIENT SETNAME on every connection; "": none
	RedisSocketTimeout        time.Duration // for a reply; 0: 30 s, where Celery has 120
	RedisSocketConnectTimeout time.Duration // 0: DefaultConnectTimeout of the connection
	// RedisBackendHealthCheckInterval is how long a connection may be idle until it is tried; 0: the connection's default.
	RedisBackendHealthCheckInterval time.Duration
	ResultBackend                   string         // URL; "": results are not stored
	ResultCompression               string         // "": none
	ResultExpires                   time.Duration  // how long results are kept; 0: for ever
	ResultChordExpires              *time.Duration // nil: as ResultExpires
	ResultFailureExpires            *time.Duration // of failures; nil: as ResultExpires
	ResultExtended                  bool           // store name, arguments, worker and queue with results
	ResultSerializer                string
	ResultBackendTransportOptions   ResultTransportOptions
	ResultChordRetryInterval        time.Duration // of chord_unlock
	ResultChordJoinTimeout          time.Duration // for the results of a chord

	// Tasks.
	TaskAcksLate                       bool        // acknowledge after the task has run
	TaskAcksOnFailureOrTimeout         bool        // acknowledge late-acknowledged tasks that failed or timed out
	TaskAcksOnFailure                  *bool       // of these, those that failed; nil: as TaskAcksOnFailureOrTimeout
	TaskAcksOnTimeout                  *bool       // of these, those that timed out; nil: as TaskAcksOnFailureOrTimeout
	TaskAnnotations                    Annotations // options of tasks by name
	TaskCompression                    string      // of messages; "": none
	TaskCreateMissingQueues            bool        // a queue that TaskQueues does not name may be used
	TaskCreateMissingQueueExchangeType string      // of exchanges of such queues; "": TaskDefaultExchangeType
	TaskInheritParentPriority          bool        // a task sent by a task gets its priority
	TaskDefaultDeliveryMode            int         // 1: transient, 2: persistent; written into messages
	TaskDefaultQueue                   string      // where a task goes that no route sends elsewhere
	TaskDefaultExchange                string      // "": TaskDefaultQueue
	TaskDefaultExchangeType            string
	TaskDefaultRoutingKey              string        // "": TaskDefaultQueue
	TaskDefaultRateLimit               *string       // "10/s", "100/m", "5/h" or tasks a second; nil: none
	TaskDefaultPriority                *int          // of tasks; nil: none
	TaskIgnoreResult                   bool          // store no results
	TaskProtocol                       int           // of the messages sent: 1 or 2
	TaskPublishRetry                   bool          // try again when publishing fails
	TaskPublishRetryPolicy             RetryPolicy   // how
	TaskQueues                         []Queue       // as given; see Settings.Queues
	TaskRejectOnWorkerLost             *bool         // requeue a late-acknowledged task whose worker died
	TaskRetryOnWorkerLost              bool          // retry a task whose worker died
	TaskReprMaxlevels                  int           // how deep argsrepr and kwargsrepr go
	TaskRoutes                         Routes        // where tasks go; see Settings.Router
	TaskSendSentEvent                  bool          // send task-sent events
	TaskSerializer                     string        // of messages
	TaskSoftTimeLimit                  time.Duration // 0: none
	TaskTimeLimit                      time.Duration // 0: none
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
	WorkerLogColor                               *bool         // nil: if the log is a terminal
	WorkerPool                                   string        // solo runs one task at a time; all others are goroutines, as is ""
	WorkerPrefetchMultiplier                     *int          // messages held for each concurrent task; 0: no limit, nil: 4, and more of short tasks
	WorkerETATaskLimit                           int           // messages with an ETA held in memory at most; 0: the worker's default
	WorkerDisablePrefetch                        bool          // hold only what a free slot can run
	WorkerSendTaskEvents                         bool          // send task events
	WorkerStateDB                                string        // file that keeps revoked tasks; "": none

	// The rest.
	AcceptContent    []string // serializers, by name or content type
	EnableUTC        bool
	Timezone         string // IANA name; "": UTC, or local time without EnableUTC
	ControlExchange  string // of remote control
	EventQueuePrefix string
	EventSerializer  string
	EventExchange    string // of events

	// Apium's own, named apium_*.
	UnknownTask     UnknownTasks  // what becomes of messages whose task has no handler
	MaxRedeliveries int           // deliveries after a worker died, before a message goes to the dead letters; default 10, 0: no limit
	MaxDecompressed int           // bytes that a compressed message may become; 0: 200 times its size and 16 MiB, at most 256 MiB
	ParkAfter       time.Duration // tasks due later than this are parked in the broker; 0: the worker's default
	AliveFor        time.Duration // after its last sign of life a worker is taken for dead; default 6 s, 1 s at least
	ShutdownTimeout time.Duration // of a warm shutdown; 0: as long as tasks take
	SettleTimeout   time.Duration // how long a warm shutdown waits for Redis if it is away
	MetricsAddr     string        // of the Prometheus endpoint; "": none
	LogFormat       string        // text or json

	// Warnings say, in one line each, what was given without having an effect. Resolve keeps
	// those that were appended.
	Warnings []string

	given    map[string]given // by name, what was given as Load or Resolve read it
	changed  map[string]bool  // of these, what differs from the default
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
