package worker

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// taskConfig is what holds for one task in this worker: its own options, overridden by
// annotations, with the worker's defaults for the rest. Time and rate limits may change
// while the worker runs.
type taskConfig struct {
	entry *tasks.Entry
	pool  *pool // whose executor runs it
	// inGo is, of a task of another executor that calls a task (celery.map), what runs it in its
	// place where that has a Go handler; nil: there is no such thing.
	inGo *taskConfig
	// rest is, of a task with a Go handler, what another executor of this worker runs by the same
	// name; nil: there is no such thing.
	rest  *taskConfig
	share atomic.Pointer[tasks.Share] // of its messages; the others are left to rest or to other workers. Nil: all
	// shadow is, of a task that is the rest of another, of which share of what it runs that one's handler runs a copy, too; nil: of none.
	shadow atomic.Pointer[tasks.Share]

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
	shares      map[string]tasks.Share
	shadows     map[string]tasks.Share
	limits      *limits
	runner      *runner

	byName atomic.Pointer[sync.Map] // string → *taskConfig

	mu  sync.Mutex
	set map[string]operatorLimits // what operators have set, by task
}

// operatorLimits are limits that operators have set: they hold until the worker ends, whatever
// becomes of the task, as in Celery over a pool_restart.
type operatorLimits struct {
	rate   *string
	times  *timeLimits
	share  *tasks.Share
	shadow *tasks.Share
}

func newTaskConfigs(cfg *Config, builtin *tasks.Registry, limits *limits, runner *runner) *taskConfigs {
	c := &taskConfigs{
		registered: cfg.Registry, builtin: builtin, defaults: cfg.Defaults, annotations: cfg.Annotations, shares: cfg.Shares, shadows: cfg.Shadows,
		limits: limits, runner: runner, set: map[string]operatorLimits{},
	}
	c.byName.Store(&sync.Map{})
	return c
}

// of returns the configuration of a task, or nil if it is not registered.
func (c *taskConfigs) of(name string) *taskConfig {
	byName := c.byName.Load()
	if known, ok := byName.Load(name); ok {
		return known.(*taskConfig)
	}
	entry, ok := c.lookup(name)
	if !ok {
		return nil
	}
	p := c.runner.pool(entry.Executor)
	if p == nil {
		return nil // nobody here can run it
	}
	known, _ := byName.LoadOrStore(name, c.make(entry, p))
	return known.(*taskConfig)
}

func (c *taskConfigs) lookup(name string) (entry *tasks.Entry, ok bool) {
	if entry, ok = c.registered.Lookup(name); !ok {
		entry, ok = c.builtin.Lookup(name)
	}
	return entry, ok
}

// behind is the task of another executor that this one comes before; nil: there is none.
func (c *taskConfigs) behind(entry *tasks.Entry) *tasks.Entry {
	if !entry.InGo() {
		return nil
	}
	behind, _ := c.registered.Behind(entry.Name)
	return behind
}

// isOf tells whether the configuration was made of these.
func (t *taskConfig) isOf(entry, behind *tasks.Entry) bool {
	if t.rest == nil {
		return t.entry == entry && behind == nil
	}
	return t.entry == entry && t.rest.entry == behind
}

// refresh looks anew at the tasks that are not registered as they were. What has come for them
// runs as it would have, but at their new rates.
func (c *taskConfigs) refresh() {
	kept := &sync.Map{}
	var changed []string
	for key, known := range c.byName.Load().Range {
		name := key.(string)
		if entry, ok := c.lookup(name); ok && known.(*taskConfig).isOf(entry, c.behind(entry)) {
			kept.Store(name, known)
		} else {
			changed = append(changed, name)
		}
	}
	c.byName.Store(kept)
	for _, name := range changed {
		c.of(name)
	}
}

// setRate and setTimes note what operators have set, and change a task.
func (c *taskConfigs) setRate(name, limit string, rate float64) bool {
	t := c.noted(name, func(set *operatorLimits) { set.rate = &limit })
	if t == nil {
		return false
	}
	c.limit(t, limit, rate)
	return true
}

// limit sets the rate limit of a task: one, whoever runs it.
func (c *taskConfigs) limit(t *taskConfig, limit string, rate float64) {
	t.rateLimit.Store(&limit)
	c.limits.set(t, rate)
	if t.rest != nil {
		t.rest.rateLimit.Store(&limit)
		t.rest.limiter.Store(t.limiter.Load())
	}
}

func (c *taskConfigs) setTimes(name string, times timeLimits) bool {
	t := c.noted(name, func(set *operatorLimits) { set.times = &times })
	if t == nil {
		return false
	}
	for ; t != nil; t = t.rest {
		t.limits.Store(&times)
	}
	return true
}

func (c *taskConfigs) noted(name string, note func(*operatorLimits)) *taskConfig {
	t := c.of(name)
	if t == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.set[name]
	note(&set)
	c.set[name] = set
	return t
}

func (c *taskConfigs) setFor(name string) operatorLimits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set[name]
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

// make makes the configuration of a task that is called by its name.
func (c *taskConfigs) make(entry *tasks.Entry, p *pool) *taskConfig {
	t, o := c.configure(entry, p)
	if behind := c.behind(entry); behind != nil {
		if p := c.runner.pool(behind.Executor); p != nil {
			t.rest, _ = c.configure(behind, p)
		}
	}
	t.dial(c.shareOf(entry.Name))
	t.cast(c.shadowOf(entry.Name))
	limit := value(c.setFor(entry.Name).rate, value(o.RateLimit, ""))
	t.rateLimit.Store(&limit)
	if rate, err := tasks.ParseRateLimit(limit); err == nil {
		c.limit(t, limit, rate)
	}
	if !entry.InGo() && slices.Contains(callers, entry.Name) {
		if builtin, ok := c.builtin.Lookup(entry.Name); ok {
			t.inGo = c.make(builtin, c.runner.goroutines())
		}
	}
	return t
}

// configure works out what the options of a task say, but for its rate.
func (c *taskConfigs) configure(entry *tasks.Entry, p *pool) (*taskConfig, tasks.Options) {
	o := c.optionsOf(entry)
	t := &taskConfig{
		entry:         entry,
		pool:          p,
		acksLate:      value(o.AcksLate, false) || p.acksLate,
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
	times := value(c.setFor(entry.Name).times, timeLimits{hard: value(o.TimeLimit, 0), soft: value(o.SoftTimeLimit, 0)})
	t.limits.Store(&times)
	t.rateLimit.Store(new(string))
	return t, o
}

// callers are Celery's own tasks that call another one.
var callers = []string{"celery.map", "celery.starmap", "celery.chunks"}

// forCalled returns what runs a task that calls another one: the Go form of it if that has a Go
// handler. Of a body that cannot be read here that is not known.
func (t *taskConfig) forCalled(c *taskConfigs, kwargs []byte) *taskConfig {
	sig, err := protocol.DecodeSignature(pyjson.Member(kwargs, "task"))
	if err != nil {
		return t
	}
	if called := c.of(sig.Task); called != nil && called.entry.InGo() {
		return t.inGo
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
