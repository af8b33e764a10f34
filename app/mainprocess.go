package app

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/python"
	"github.com/apium/apium/worker"
)

// StopSignal is the cause of a context that a signal has ended: what a Python app's receivers of
// worker_shutting_down are told. One that ends for another reason sends no such signal.
type StopSignal struct { //nolint:errname // it is the cause of an end, and no mistake
	Name string // SIGTERM
	Cold bool
}

func (s *StopSignal) Error() string { return "got " + s.Name }

// accept warns of what the app hangs in there that cannot be kept, or is an error, as it is for code that is
// loaded later.
func (w *Worker) accept(project *python.App) error {
	if w.opts.IgnorePythonHooks {
		for _, r := range project.Manifest().Hooks.Refused {
			w.conf.Warnings = append(w.conf.Warnings, "Going on without "+r.String())
		}
		return nil
	}
	return project.Accept(w.refuse)
}

// refuse is an error if an app hangs something in there that cannot be kept.
func (w *Worker) refuse(manifest *python.Manifest) error {
	var texts []string
	for _, r := range manifest.Hooks.Refused {
		texts = append(texts, "\n  "+r.String())
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New("the app " + w.opts.Python.Name() + " hangs in Celery's MainProcess what cannot be kept here:" + strings.Join(texts, "") +
		"\nTo go on without that, give --ignore-python-hooks; or run these tasks with celery worker")
}

// change follows what the app's receivers have made of the worker.
func (w *Worker) change(manifest *python.Manifest) {
	w.cfg.Concurrency = cmp.Or(manifest.Changed.Concurrency, w.cfg.Concurrency)
	if n := manifest.Changed.PrefetchMultiplier; n > 0 {
		w.cfg.PrefetchMultiplier = n
	}
}

// consumed are the queues to consume: those of a Python app as its receivers have left them.
func (w *Worker) consumed() ([]broker.Queue, error) {
	if w.opts.Python != nil && len(w.opts.Queues)+len(w.opts.ExcludeQueues) == 0 {
		return fromsettings.ConsumedByApp(w.opts.Python.Manifest().Queues)
	}
	return fromsettings.Consumed(w.conf, w.opts.Queues, w.opts.ExcludeQueues, w.cfg.Hostname)
}

// startMain starts what stands in for the MainProcess of a Python app, if the app hangs
// anything in there.
func (s *service) startMain(ctx context.Context, shutdown func()) (err error) {
	if s.opts.Python == nil {
		return nil
	}
	s.main, err = s.opts.Python.StartMain(ctx, s.log, func(cold bool, status int) {
		if status != 0 {
			s.stoppedBy.Store(&ExitError{Status: status})
		}
		if shutdown(); cold {
			s.Abort()
		}
	})
	return err
}

// ExitError is that of a worker that code of its Python app has ended, as raise SystemExit(3) in a
// bootstep does.
type ExitError struct{ Status int }

func (e *ExitError) Error() string { return "ended by the Python app" }

// observe has the MainProcess told of tasks and heartbeats.
func (s *service) observe(cfg *worker.Config) {
	if s.main != nil {
		cfg.Observers = append(cfg.Observers, s.main)
		cfg.Hooks = append(cfg.Hooks, s.main.Hooks())
	}
}

// mainReady tells it that the worker is ready, and of its end when that begins.
func (s *service) mainReady(ctx context.Context) {
	if s.main == nil {
		return
	}
	s.main.Ready()
	s.mainTold = beside(func() {
		<-ctx.Done()
		var sig *StopSignal
		if !errors.As(context.Cause(ctx), &sig) {
			sig = &StopSignal{Cold: s.ending.cold.Err() != nil}
		}
		s.main.ShuttingDown(sig.Name, sig.Cold)
	})
}

// endMain ends it, when the last task is done. The worker is being stopped by then.
func (s *service) endMain() {
	if s.main == nil {
		return
	}
	if s.mainTold != nil {
		s.mainTold()
	}
	s.main.End(s.ending.cold.Err() != nil)
}
