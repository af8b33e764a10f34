package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/python"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// Worker is all that `celery worker` is: it runs tasks, answers remote control, sends events,
// listens to other workers and counts for Prometheus. Its methods are safe for concurrent use.
type Worker struct {
	reg    *tasks.Registry
	conf   *settings.Settings
	opts   Options
	log    *slog.Logger
	cfg    worker.Config // of what runs tasks, without what is connected
	places fromsettings.Connections

	beat      *Beat // nil: it sends no periodic tasks
	figures   *figures
	ending    *ending
	ran       atomic.Bool
	runner    atomic.Pointer[worker.Worker] // nil: it does not run yet
	asksAgain time.Duration                 // see watchForwarding
}

// NewWorker makes a worker for the tasks of reg. It takes no signals, prints nothing and
// connects to nothing yet; ctx is not kept. What is changed in conf or opts later has no effect.
//
// All that is wrong with the settings and the options is told at once, in a *ConfigError.
// Settings that have no effect are logged when Run begins.
func NewWorker(ctx context.Context, reg *tasks.Registry, conf *settings.Settings, opts Options) (*Worker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conf, err := conf.Resolve()
	if err != nil {
		return nil, &ConfigError{err}
	}
	w := &Worker{reg: reg, conf: conf, opts: opts, log: opts.Logger, ending: newEnding(), asksAgain: consumersAgain}
	if w.log == nil {
		w.log = slog.Default()
	}
	if err := w.configure(); err != nil {
		return nil, &ConfigError{err}
	}
	w.ending.softTime = w.cfg.SoftShutdownTimeout
	w.figures = w.newFigures()
	return w, nil
}

// configure works out what the settings and the options come to.
func (w *Worker) configure() error {
	w.cfg = fromsettings.Worker(w.conf, nodename.Of(w.opts.Hostname, nodename.Host()))
	w.cfg.Registry, w.cfg.Logger, w.cfg.Autoscale = w.reg, w.log, w.opts.Autoscale
	w.cfg.Observers = slices.Clone(w.opts.Observers)
	w.cfg.Clock = new(worker.Clock)
	pythonErr := w.addPython()
	queues, queuesErr := w.consumed()
	places, placesErr := fromsettings.ForWorker(w.conf, w.cfg.Hostname, queues, w.pythonResults(), w.log)
	if err := errors.Join(w.cfg.Validate(), pythonErr, queuesErr, placesErr); err != nil {
		return err
	}
	w.places = places
	if err := w.configureBeat(); err != nil {
		return err
	}
	if w.opts.Python != nil && !w.resultsInPython() {
		w.opts.Python.TakeRecords()
	}
	w.conf.Warnings = slices.Concat(w.conf.Warnings, fromsettings.UnheededWarnings(w.conf, w.opts.Python != nil), places.Warnings)
	return nil
}

// addPython adds the children that run the tasks of a Python app.
func (w *Worker) addPython() error {
	project := w.opts.Python
	if project == nil {
		return nil
	}
	w.change(project.Manifest())
	w.reg = w.reg.Clone()
	project.Register(w.reg)
	w.cfg.Registry = w.reg
	w.cfg.Executors = map[string]worker.ExecutorConfig{
		python.Executor: project.Executor(w.log, w.cfg.Concurrency, w.cfg.Autoscale),
	}
	w.cfg.Pool, w.cfg.Autoscale = python.Executor, worker.Autoscale{}
	w.cfg.Concurrency = cmp.Or(w.opts.GoConcurrency, w.cfg.Concurrency)
	if keys := project.Manifest().Signing; keys != nil {
		signed, err := serializer.NewSigned(*keys)
		if err != nil {
			return fmt.Errorf("messages cannot be signed: %w", err)
		}
		w.cfg.Signed = signed
	}
	return w.accept(project)
}

// pythonResults is what the Python app, if there is one, can do with results.
func (w *Worker) pythonResults() fromsettings.Python {
	if w.opts.Python == nil {
		return fromsettings.Python{}
	}
	return fromsettings.Python{Stores: true, Only: w.opts.Python.Manifest().OnlyPythonStores}
}

// resultsInPython tells whether results go to a backend that only the Python app knows.
func (w *Worker) resultsInPython() bool {
	return w.opts.Python != nil && w.places.BackendURL == "" && w.conf.ResultURL(w.conf.ResultBackend) != ""
}

// Hostname is the node name: celery@web1.
func (w *Worker) Hostname() string { return w.cfg.Hostname }

// Queues is what the worker consumes when it starts.
func (w *Worker) Queues() []broker.Queue { return slices.Clone(w.places.Queues) }

// Tasks are the names of all tasks that the worker runs, besides Celery's own.
func (w *Worker) Tasks() []string {
	return slices.DeleteFunc(w.reg.Names(), func(name string) bool { return strings.HasPrefix(name, "celery.") })
}

// Concurrency is how many tasks run at the same time when the worker starts: in children, if
// there is a Python app.
func (w *Worker) Concurrency() int {
	if pool, ok := w.cfg.Executors[w.cfg.Pool]; ok {
		return pool.Concurrency
	}
	return w.cfg.Concurrency
}

// Broker is the URL to consume from, without its password.
func (w *Worker) Broker() string { return w.places.Broker.String() }

// ResultBackend is the URL where results go, without its password; "" if they go nowhere.
func (w *Worker) ResultBackend() string {
	if w.resultsInPython() {
		return cmp.Or(w.opts.Python.Manifest().Results, w.conf.ResultBackend)
	}
	return w.places.Backend.String()
}

// Ready is nil while the worker is connected and consuming; otherwise it says why it is not. It is what /readyz answers.
func (w *Worker) Ready() error { return w.figures.Ready() }

// Alive asks the worker what it is doing, and returns nil. One that is stuck never answers: then only a restart helps. It
// answers while the broker is away.
func (w *Worker) Alive() error {
	if runner := w.runner.Load(); runner != nil {
		runner.Stats()
	}
	return nil
}

// Run connects, and serves until ctx is done. Then it stops claiming, gives back what has not
// started, waits for the handlers that run (Celery's warm shutdown) and returns nil; the
// remote control command shutdown does the same. After Abort it does not wait for handlers.
//
// While the broker cannot be reached, Run tries again as broker_connection_retry,
// broker_connection_retry_on_startup and broker_connection_max_retries say; then it returns a
// *ConnectionError. Where something is wrong that only shows when the worker starts, it returns
// a *ConfigError. All that Run has started has ended when it returns; a worker runs once.
func (w *Worker) Run(ctx context.Context) error {
	if w.ran.Swap(true) {
		return errRanBefore
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.serve(serving, stop) }()
	return w.ending.await(ended, stop)
}

// Restart has the code of the Python app loaded anew, by new processes. It returns when all
// tasks that begin run the new code; those that run end as they began. If the new code cannot be
// loaded, the error says why, and the worker goes on as before. Settings stay as they are.
func (w *Worker) Restart(ctx context.Context) error {
	runner := w.runner.Load()
	if runner == nil {
		return errNotRunning
	}
	return runner.Operations().Restart(ctx)
}

// Abort ends Run without waiting for running handlers (Celery's cold shutdown), after it has
// let them finish for worker_soft_shutdown_timeout. Messages that are acknowledged late go back
// to their queues. It may be called at any time, more than once.
func (w *Worker) Abort() { w.ending.goCold() }

// AbortNow is Abort, and does not wait for worker_soft_shutdown_timeout, or any longer for it.
func (w *Worker) AbortNow() {
	w.ending.goHurried()
	w.ending.goCold()
}

// serve connects, and runs until ctx is done, which shutdown does.
func (w *Worker) serve(ctx context.Context, shutdown func()) (err error) {
	for _, warning := range w.conf.Warnings {
		w.log.Warn(warning, logline.EventKey, "Configuration warning", "warning", warning)
	}
	s := &service{Worker: w}
	defer s.close()
	if err := s.startMetrics(); err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return unlessDone(ctx, err)
	}
	if err := s.startMain(ctx, shutdown); err != nil {
		return unlessDone(ctx, err)
	}
	defer func() { shutdown(); s.endMain() }()
	if err := s.assemble(); err != nil {
		return &ConfigError{err}
	}
	return s.run(ctx, shutdown)
}
