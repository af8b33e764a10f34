package python

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// Options say which app to load, and as what kind of worker.
type Options struct {
	// Interpreter is the Python to run, by path or by its name on the PATH. Default: bin/python of
	// VIRTUAL_ENV, or else the Python of the celery command beside this program or on the PATH, or else
	// python3 or python there.
	Interpreter string
	// App names the app as celery -A does: "proj", "proj.celery", "proj.celery:app".
	App string
	// Dir is the working directory, in which the app is looked for, too. Default: this process's.
	Dir string
	// Environ is what the processes' environment has besides this process's: NAME=value.
	Environ []string
	// Argv is the command line that the app's code sees as sys.argv. Default: that of
	// `celery -A app worker`.
	Argv []string

	// Hostname is the node name. Default: Celery's.
	Hostname string
	// Pool is prefork, solo, threads, gevent or eventlet. Default: the app's worker_pool.
	Pool string
	// Worker are further arguments of Celery's WorkController, by their names there:
	// concurrency, loglevel, queues and so on. They must have a JSON form.
	Worker map[string]any
	// UserOptions are what the command line says of the options that the app adds to those of
	// Celery's worker (app.user_options), as it was written.
	UserOptions []string

	// Stdout and Stderr are where the processes write. Default: where this one does.
	Stdout, Stderr *os.File
	// Logger gets what there is to say about the processes. Default: slog.Default().
	Logger *slog.Logger

	which string // why it is this interpreter, once it was found
}

// App is a Celery app that a fork server has loaded.
type App struct {
	opts   Options
	log    atomic.Pointer[slog.Logger]
	keeper *keeper
	pool   *pool
	check  atomic.Pointer[func(*Manifest) error]
	direct atomic.Bool                 // the worker stores records in SQL
	claim  atomic.Int64                // how long children claim a chord for, a time.Duration; 0: as long as Celery does
	main   atomic.Pointer[MainProcess] // nil: the app hangs nothing in there, or it was not started
}

// Load starts a fork server and returns when it has loaded the app. If that fails because of the
// app, the error is a *LoadError. Close ends the processes.
func Load(ctx context.Context, opts Options) (*App, error) {
	if err := opts.resolve(); err != nil {
		return nil, err
	}
	a := &App{opts: opts}
	if a.log.Store(opts.Logger); opts.Logger == nil {
		a.log.Store(slog.Default())
	}
	start := func(ctx context.Context, modules []string) (*server, error) {
		return startServer(ctx, &a.opts, modules, a.log.Load())
	}
	first, err := start(ctx, nil)
	if err != nil {
		return nil, err
	}
	k, known := kinds[first.manifest.Pool]
	if k.green && opts.Pool == "" { // what it replaces must be replaced before the app is loaded
		a.opts.Pool = first.manifest.Pool
		first.end()
		<-first.gone
		if first, err = start(ctx, nil); err != nil {
			return nil, err
		}
	}
	a.keeper = newKeeper(first, start, &a.log)
	a.pool = newPool(a, k)
	if !known {
		a.Close()
		return nil, opts.unknownPool(first.manifest.Pool)
	}
	return a, nil
}

// Accept returns what check says of the app, and has it look at code that is loaded anew (Restart of the
// executor): what it does not accept does not take the place of what runs. It does not look when the
// fork server has ended and the app is loaded again, as nothing would run then.
func (a *App) Accept(check func(*Manifest) error) error {
	a.check.Store(&check)
	return check(a.Manifest())
}

// Name is the app's, as celery -A has it.
func (a *App) Name() string { return a.opts.App }

// Manifest is what the app is, as of its last loading.
func (a *App) Manifest() *Manifest {
	s, _ := a.keeper.current()
	return s.manifest
}

// Register registers all tasks of the app that reg has no Go handler for, and its commands of
// remote control.
func (a *App) Register(reg *tasks.Registry) {
	for name, opts := range a.Tasks() {
		reg.RegisterFor(Executor, name, opts...)
	}
	a.registerCommands(reg)
}

// Tasks are the app's tasks with their options, by name.
func (a *App) Tasks() map[string][]tasks.Option {
	all := map[string][]tasks.Option{}
	for name, o := range a.Manifest().Tasks {
		all[name] = o.options()
	}
	return all
}

// Executor returns what runs the tasks of the app, for one worker, with so many slots. There is
// one; log gets what there is to say of its children from now on.
func (a *App) Executor(log *slog.Logger, slots int, scale worker.Autoscale) worker.ExecutorConfig {
	a.log.Store(log)
	k := a.pool.kind
	if k.most > 0 {
		slots, scale = k.most, worker.Autoscale{}
	}
	return worker.ExecutorConfig{Executor: a.pool, Concurrency: slots, Autoscale: scale, Restraints: k.restraints, Tasks: a.Tasks}
}

// TakeRecords has children hand over the final records of their tasks, where the worker can store them
// as well, in SQL, too: in Redis they do so anyway. It is for children that begin later.
func (a *App) TakeRecords() { a.direct.Store(true) }

// ClaimChords has children claim a chord whose last part they count for no longer than the worker would, which counts in the same
// result backend. It is for children that begin later.
func (a *App) ClaimChords(lease time.Duration) { a.claim.Store(int64(lease)) }

// OnRecovery has a function called when the app was loaded again because its fork server had
// ended: it may have other tasks now.
func (a *App) OnRecovery(loaded func()) { a.keeper.loaded.Store(&loaded) }

// Close ends the fork server, and whatever runs below it.
func (a *App) Close() { a.keeper.shut() }
