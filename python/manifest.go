package python

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/tasks"
)

// Executor is the name of the executor that runs an app's tasks.
const Executor = "python"

// Manifest is what the fork server has found in the app.
type Manifest struct {
	PID int `json:"pid"` // of the fork server
	// Software are the versions that celery report shows, by its words: celery, kombu, py and so on.
	Software map[string]string `json:"software"`
	Loader   string            `json:"loader"` // class of the app's loader
	// App is how Celery's banner names the app.
	App string `json:"app"`
	// Tasks are all tasks of the app with their options, Celery's own among them.
	Tasks map[string]TaskOptions `json:"tasks"`
	// Settings are the app's, as scripts/export_settings.py writes them, and Lost what cannot
	// be written down, with the reasons.
	Settings json.RawMessage   `json:"settings"`
	Lost     map[string]string `json:"lost"`
	// Publishing are the options with which each task is published, by name.
	Publishing map[string]json.RawMessage `json:"publishing"`
	// Hooks is what the app hangs in Celery's MainProcess.
	Hooks Hooks `json:"hooks"`
	// TimeZone is the variable TZ of the app's processes, into which Django puts its TIME_ZONE.
	TimeZone string `json:"timezone"`
	// Results is the URL of the result backend, without its password.
	Results string `json:"results"`
	// Signing is what the app signs messages with; nil: it does not.
	Signing *serializer.Keys `json:"signing"`
	// OnlyPythonStores says why results in SQL have to be stored by the app itself; "": they need not.
	OnlyPythonStores string `json:"only_python_stores"`
	// Queues are those to consume, as the setting task_queues has them in Settings.
	Queues json.RawMessage `json:"queues"`
	// Changed is what the app's receivers have made of the worker, other than it was to be: 0 is
	// unchanged.
	Changed struct {
		Concurrency        int `json:"concurrency"`
		PrefetchMultiplier int `json:"prefetch_multiplier"`
	} `json:"changed"`
	// Concurrency is how many children Celery would start.
	Concurrency int `json:"concurrency"`
	// Pool is the name of the pool for -P; that of its class if it is none of Celery's own.
	Pool string `json:"pool"`
	// Process is what children are called, without their numbers: ForkPoolWorker, SpawnPoolWorker,
	// MainProcess.
	Process          string `json:"process"`
	MaxTasksPerChild int    `json:"max_tasks_per_child"` // 0: no limit
	// ProcAliveTimeout is how many seconds a child may take until it is up.
	ProcAliveTimeout float64 `json:"proc_alive_timeout"`

	// Seconds is how long loading took.
	Seconds float64 `json:"seconds"`
}

// Hooks is what an app hangs in Celery's MainProcess, and the stand-in for that serves.
type Hooks struct {
	// Signals are those of a running MainProcess that have receivers.
	Signals []string `json:"signals"`
	// Steps are the app's own steps, with the places where they are defined.
	Steps []string `json:"steps"`
	// Commands are the app's own commands of remote control and of which type they are: inspect,
	// control.
	Commands map[string]string `json:"commands"`
	// Refused is what nothing can stand in for.
	Refused []Refusal `json:"refused"`
	// Beat is what would hear of a beat in the same process, and does not.
	Beat []Refusal `json:"beat"`
	// Failures are the failures that no child can tell of, and the app wants to be told of.
	Failures struct {
		Lost  bool `json:"lost"`  // a child was lost
		Limit bool `json:"limit"` // a hard time limit was exceeded
		// Rejected: the task has rejected its message.
		Rejected bool `json:"rejected"`
	} `json:"failures"`
}

// Refusal is something that an app hangs in Celery's MainProcess, or in its beat, and that cannot be kept.
type Refusal struct {
	What string `json:"what"` // with the place where it is defined
	Why  string `json:"why"`
}

func (r *Refusal) String() string { return r.What + ": " + r.Why }

// any tells whether there is anything.
func (h *Hooks) any() bool {
	return len(h.Signals) > 0 || len(h.Steps) > 0 || len(h.Commands) > 0 || h.Failures.Lost || h.Failures.Limit
}

// TaskOptions are the options of a task that the worker has to know, as attributes of Celery's
// Task class are called.
type TaskOptions struct {
	AcksLate                 *bool `json:"acks_late"`
	AcksOnFailureOrTimeout   *bool `json:"acks_on_failure_or_timeout"`
	AcksOnFailure            *bool `json:"acks_on_failure"`
	AcksOnTimeout            *bool `json:"acks_on_timeout"`
	RejectOnWorkerLost       *bool `json:"reject_on_worker_lost"`
	RetryOnWorkerLost        *bool `json:"retry_on_worker_lost"`
	IgnoreResult             *bool `json:"ignore_result"`
	StoreErrorsEvenIfIgnored *bool `json:"store_errors_even_if_ignored"`
	SendEvents               *bool `json:"send_events"`
	RateLimit                any   `json:"rate_limit"`
	TimeLimit                any   `json:"time_limit"`
	SoftTimeLimit            any   `json:"soft_time_limit"`
	MaxRetries               any   `json:"max_retries"`
	DefaultRetryDelay        any   `json:"default_retry_delay"`
	// Errback tells that as an error callback it is told the request, the exception and the traceback.
	Errback bool `json:"errback"`
}

// aliveTimeout is how long a child may take until it is up: the setting worker_proc_alive_timeout.
func (m *Manifest) aliveTimeout() time.Duration {
	if m.ProcAliveTimeout <= 0 {
		return 4 * time.Second // Celery's default
	}
	return time.Duration(m.ProcAliveTimeout * float64(time.Second))
}

// changedSettings are the names of those that are others in a newer manifest.
func (m *Manifest) changedSettings(newer *Manifest) (names []string) {
	var before, after map[string]json.RawMessage
	_ = json.Unmarshal(m.Settings, &before) // what is no object has no settings
	_ = json.Unmarshal(newer.Settings, &after)
	for name, value := range after {
		if !bytes.Equal(before[name], value) {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// options are what the worker is told of a task. STARTED is stored by the child.
func (o *TaskOptions) options() []tasks.Option {
	opts := []tasks.Option{tasks.TrackStarted(false)}
	add := func(value *bool, option func(bool) tasks.Option) {
		if value != nil {
			opts = append(opts, option(*value))
		}
	}
	add(o.AcksLate, tasks.AcksLate)
	add(o.AcksOnFailureOrTimeout, tasks.AcksOnFailureOrTimeout)
	add(o.AcksOnFailure, tasks.AcksOnFailure)
	add(o.AcksOnTimeout, tasks.AcksOnTimeout)
	add(o.RejectOnWorkerLost, tasks.RejectOnWorkerLost)
	add(o.RetryOnWorkerLost, tasks.RetryOnWorkerLost)
	add(o.IgnoreResult, tasks.IgnoreResult)
	add(o.StoreErrorsEvenIfIgnored, tasks.StoreErrorsEvenIfIgnored)
	add(o.SendEvents, tasks.SendEvents)
	switch limit := o.RateLimit.(type) {
	case string:
		opts = append(opts, tasks.RateLimit(limit))
	case float64:
		opts = append(opts, tasks.RateLimit(json.Number(jsonText(limit)).String()))
	}
	if o.Errback {
		opts = append(opts, tasks.Errback())
	}
	hard, soft := seconds(o.TimeLimit), seconds(o.SoftTimeLimit)
	if hard > 0 {
		opts = append(opts, tasks.TimeLimit(hard))
	}
	if soft > 0 && (hard <= 0 || soft <= hard) {
		opts = append(opts, tasks.SoftTimeLimit(soft))
	}
	if n, ok := o.MaxRetries.(float64); ok {
		opts = append(opts, tasks.MaxRetries(int(n)))
	}
	if delay := seconds(o.DefaultRetryDelay); delay > 0 {
		opts = append(opts, tasks.RetryDelay(delay))
	}
	return opts
}

func seconds(value any) time.Duration {
	f, _ := value.(float64)
	return time.Duration(f * float64(time.Second))
}

func jsonText(value any) string {
	text, _ := json.Marshal(value) //nolint:errchkjson // a number that was read
	return string(text)
}
