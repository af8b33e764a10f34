package worker

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// taskConfig is what holds for one task in this worker: its own options, overridden by
// annotations, with the worker's defaults for the rest. Time and rate limits may change
// while the worker runs.
type taskConfig struct {
	entry *tasks.Entry
	pool  *pool // whose executor runs it

	acksLate      bool
	acksOnFailure bool
	acksOnTimeout bool
	rejectOnLost  bool
	retryOnLost   bool
	ignoreResult  bool
	storeErrors   bool // even if ignored
	trackStarted  bool
	sendEvents    bool
	trail         bool
	published     canvas.Options // what it is published with, where the call does not say otherwise

	maxRetries int // negative: no limit
	retryDelay time.Duration
	autoRetry  *tasks.AutoRetryPolicy
	throws     func(error) bool

	limits    atomic.Pointer[timeLimits]
	limiter   atomic.Pointer[limiter] // nil: no rate limit
	rateLimit atomic.Pointer[string]  // as it was given; "": none
}

// timeLimits are the hard and the soft limit of a run; 0: none.
type timeLimits struct{ hard, soft time.Duration }

const (
	defaultMaxRetries = 3
	defaultRetryDelay = 180 * time.Second
)

// taskConfigs holds the configuration of every registered task, each made when it is
// first met.
type taskConfigs struct {
	registered  *tasks.Registry // the user's
	builtin     *tasks.Registry // the tasks that every Celery worker has
	defaults    tasks.Options
	annotations []map[string]tasks.Options
	limits      *limits
	runner      *runner

	byName sync.Map // string → *taskConfig
}

func newTaskConfigs(cfg *Config, builtin *tasks.Registry, limits *limits, runner *runner) *taskConfigs {
	return &taskConfigs{
		registered: cfg.Registry, builtin: builtin, defaults: cfg.Defaults, annotations: cfg.Annotations,
		limits: limits, runner: runner,
	}
}

// of returns the configuration of a task, or nil if it is not registered.
func (c *taskConfigs) of(name string) *taskConfig {
	if known, ok := c.byName.Load(name); ok {
		return known.(*taskConfig)
	}
	entry, ok := c.registered.Lookup(name)
	if !ok {
		if entry, ok = c.builtin.Lookup(name); !ok {
			return nil
		}
	}
	p := c.runner.pool(entry.Executor)
	if p == nil {
		return nil // nobody here can run it
	}
	known, _ := c.byName.LoadOrStore(name, c.make(entry, p))
	return known.(*taskConfig)
}

// published returns the options that a task gives to what is published of it, and whether it
// is registered.
func (c *taskConfigs) published(name string) (canvas.Options, bool) {
	t := c.of(name)
	if t == nil {
		return nil, false
	}
	return t.published, true
}

func (c *taskConfigs) make(entry *tasks.Entry, p *pool) *taskConfig {
	o := c.optionsOf(entry)
	t := &taskConfig{
		entry:         entry,
		pool:          p,
		acksLate:      value(o.AcksLate, false),
		acksOnFailure: value(o.AcksOnFailure, true),
		acksOnTimeout: value(o.AcksOnTimeout, true),
		rejectOnLost:  value(o.RejectOnWorkerLost, false),
		retryOnLost:   value(o.RetryOnWorkerLost, false),
		ignoreResult:  value(o.IgnoreResult, false),
		storeErrors:   value(o.StoreErrorsEvenIfIgnored, false),
		trackStarted:  value(o.TrackStarted, false),
		sendEvents:    value(o.SendEvents, true),
		trail:         value(o.Trail, true),
		maxRetries:    value(o.MaxRetries, defaultMaxRetries),
		retryDelay:    value(o.RetryDelay, defaultRetryDelay),
		autoRetry:     o.AutoRetry,
		throws:        o.Throws,
	}
	t.published = append(canvas.Options{canvas.IgnoreResult(t.ignoreResult)}, o.Publishing...)
	t.limits.Store(&timeLimits{hard: value(o.TimeLimit, 0), soft: value(o.SoftTimeLimit, 0)})
	limit := value(o.RateLimit, "")
	t.rateLimit.Store(&limit)
	if rate, err := tasks.ParseRateLimit(limit); err == nil && rate > 0 {
		c.limits.set(t, rate)
	}
	return t
}

func value[T any](choice *T, otherwise T) T {
	if choice == nil {
		return otherwise
	}
	return *choice
}

// optionsOf works out a task's options.
func (c *taskConfigs) optionsOf(entry *tasks.Entry) tasks.Options {
	o := c.defaults
	o.Override(entry.Options)
	for _, name := range []string{entry.Name, "*"} {
		for _, table := range c.annotations {
			if annotation, ok := table[name]; ok {
				o.Override(annotation)
				break
			}
		}
	}
	return o
}

// validateOptions reports annotations and defaults that cannot be.
func (c *Config) validateOptions() (errs []error) {
	if err := c.Defaults.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("worker: Defaults: %w", err))
	}
	for _, annotations := range c.Annotations {
		for name := range annotations {
			o := annotations[name]
			if err := o.Validate(); err != nil {
				errs = append(errs, fmt.Errorf("worker: Annotations[%q]: %w", name, err))
			}
		}
	}
	return errs
}
