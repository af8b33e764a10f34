package python

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/tasks"
)

// MainProcess is what an app finds in the place of Celery's MainProcess: a process that calls
// the receivers of its signals, has its bootsteps and runs its commands of remote control. If that
// ends, another takes its place, which begins anew. Nothing of the worker waits for it for more
// than some seconds.
type MainProcess struct {
	app   *App
	log   *slog.Logger
	hooks atomic.Pointer[Hooks] // of the code that the stand-in has
	stop  func(cold bool, status int)

	current atomic.Pointer[standin] // nil: none is up
	raised  int                     // how many were
	missed  atomic.Int64            // news for which there was no room

	serving context.Context //nolint:containedctx // done: there will be no other stand-in
	cease   context.CancelFunc
	kept    chan struct{} // closed when there will be no other stand-in, nor is one being started
	ready   atomic.Bool   // the worker is
}

// How long the worker waits for code of the app's.
const (
	startPatience = 30 * time.Second // until it has started its bootsteps
	hookPatience  = 5 * time.Second
	coldPatience  = time.Second
	// Starting may take very long in Celery, too.
	slowestStart = 10 * time.Minute
)

// StartMain starts what stands in for Celery's MainProcess, if the app hangs anything in there;
// else it returns nil. stop is called when the app's code ends the worker, as it does with
// SystemExit. An error is that of the app's bootsteps.
func (a *App) StartMain(ctx context.Context, log *slog.Logger, stop func(cold bool, status int)) (*MainProcess, error) {
	hooks := &a.Manifest().Hooks
	if !hooks.any() {
		return nil, nil //nolint:nilnil // nothing is hung in there, and that is no mistake
	}
	m := &MainProcess{app: a, log: log, stop: stop, kept: make(chan struct{})}
	m.hooks.Store(hooks)
	a.main.Store(m)
	m.serving, m.cease = context.WithCancel(context.WithoutCancel(ctx))
	s, err := m.fork(ctx)
	if err == nil {
		err = m.begin(ctx, s)
	}
	if err != nil {
		m.cease()
		return nil, err
	}
	go m.keep(s)
	return m, nil
}

// fork starts a stand-in of the app's present code.
func (m *MainProcess) fork(ctx context.Context) (*standin, error) {
	m.raised++
	return raiseStandin(ctx, m.app.keeper.living(ctx), -m.raised, m.stop) // children have positive numbers
}

// begin starts the app's bootsteps in a stand-in, which serves from then on.
func (m *MainProcess) begin(ctx context.Context, s *standin) error {
	waiting, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if _, err := s.ask(waiting, "start", nil, slowestStart); errors.Is(err, errNoAnswer) && ctx.Err() == nil {
		m.slow("bootsteps", startPatience)
	} else if err != nil {
		s.kill()
		return fmt.Errorf("python: the app's bootsteps cannot be started: %w", err)
	}
	m.hooks.Store(&s.server.manifest.Hooks)
	m.current.Store(s)
	return nil
}

// keep sees to it that there is a stand-in, of the app's present code, until the worker ends.
func (m *MainProcess) keep(s *standin) {
	defer close(m.kept)
	var failures backoff
	for {
		var lasted time.Duration
		if s != nil {
			if !m.isToBeReplaced(s) {
				return
			}
			lasted = time.Since(s.began)
		}
		if !failures.wait(lasted, m.serving.Done()) {
			return
		}
		s = m.next(s)
	}
}

// isToBeReplaced returns when a stand-in has ended, or when there is other code. It reports false
// if that is of no interest any more.
func (m *MainProcess) isToBeReplaced(s *standin) bool {
	for {
		server, changed := m.app.keeper.current()
		if s.server != server && !s.hasEnded() {
			return true
		}
		select {
		case <-m.serving.Done():
			return false
		case <-changed:
		case <-s.gone:
			m.current.CompareAndSwap(s, nil)
			m.log.Error(fmt.Sprintf("The process that stands in for the MainProcess (pid %d) has ended, and is started again", s.pid),
				logline.EventKey, "The stand-in for the MainProcess has ended", "pid", s.pid)
			return true
		}
	}
}

// next puts another stand-in in the place of one that may have ended, and tells it that the worker is
// ready if it is. If it cannot, it returns the old one, or nil if that has ended.
func (m *MainProcess) next(old *standin) *standin {
	s, err := m.fork(m.serving)
	if err == nil {
		m.dismiss(old)
		old = nil
		err = m.begin(m.serving, s)
	}
	if m.serving.Err() != nil {
		return nil
	}
	if err != nil {
		m.log.Error("Cannot start what stands in for the MainProcess: "+err.Error(),
			logline.EventKey, "Cannot start the stand-in for the MainProcess", "error", err)
		if old != nil && old.hasEnded() {
			return nil
		}
		return old
	}
	if m.ready.Load() {
		m.ask("worker_ready", "ready", nil, hookPatience, slowestStart)
	}
	return s
}

// dismiss ends a stand-in of old code, as at the end of a worker. nil: there is none.
func (m *MainProcess) dismiss(s *standin) {
	if s == nil || s.hasEnded() {
		return
	}
	m.ask("bootsteps", "close", map[string]any{"method": method(false)}, hookPatience, hangs)
	m.ask("worker_shutdown", "end", map[string]any{"method": method(false)}, hookPatience, hangs)
	m.current.Store(nil)
	s.close(hookPatience)
}

// ask has the stand-in do something, and waits for it for a while.
func (m *MainProcess) ask(what, op string, with map[string]any, patience, hangs time.Duration) {
	s := m.current.Load()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := s.ask(ctx, op, with, hangs); errors.Is(err, errNoAnswer) {
		m.slow(what, patience)
	}
}

func (m *MainProcess) slow(what string, after time.Duration) {
	m.log.Warn(fmt.Sprintf("The app's code for %s takes more than %v: not waiting for it any longer", what, after),
		logline.EventKey, "The app's code takes long", "what", what, "after", after.Seconds())
}

// Ready sends worker_ready.
func (m *MainProcess) Ready() {
	m.ready.Store(true)
	m.ask("worker_ready", "ready", nil, hookPatience, slowestStart)
}

// ShuttingDown is called when the worker begins to end. If a signal has ended it, that is sent as
// worker_shutting_down: sig is its name, "" if there was none.
func (m *MainProcess) ShuttingDown(sig string, cold bool) {
	how, status := "Warm", 0
	if cold {
		how = "Cold"
	}
	if sig != "SIGTERM" {
		status = 1
	}
	if sig != "" {
		m.ask("worker_shutting_down", "shutting_down", map[string]any{"sig": sig, "how": how, "exitcode": status}, lasts(cold), hangs)
	}
	m.ask("bootsteps", "close", map[string]any{"method": method(cold)}, lasts(cold), hangs)
}

// End is called when the last task is done. It stops the app's bootsteps, sends
// worker_shutdown, and ends the process.
func (m *MainProcess) End(cold bool) {
	m.cease()
	<-m.kept
	if s := m.current.Load(); s != nil {
		m.ask("worker_shutdown", "end", map[string]any{"method": method(cold)}, lasts(cold), hangs)
		s.close(lasts(cold))
	}
}

// lasts is how long one of the steps of a shutdown may take.
func lasts(cold bool) time.Duration {
	if cold {
		return coldPatience
	}
	return hookPatience
}

// method is which of a bootstep's methods ends it.
func method(cold bool) string {
	if cold {
		return "terminate"
	}
	return "stop"
}

// Command runs a command of remote control, with its arguments as a JSON object. The app's exceptions are
// part of the reply, as in Celery.
func (m *MainProcess) Command(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	s := m.current.Load()
	if s == nil {
		return nil, errNoStandin
	}
	return s.ask(ctx, "command", map[string]any{"name": name, "arguments": cmp.Or(string(arguments), "{}")}, hangs)
}

// warnOfNew warns of what new code hangs in the MainProcess and only a worker that starts looks for, or nothing keeps.
func (a *App) warnOfNew(before, after *Hooks) {
	var names []string
	for name := range after.Commands {
		if _, ok := before.Commands[name]; !ok {
			names = append(names, "the command "+name)
		}
	}
	if a.main.Load() == nil {
		names = append(append(names, after.Signals...), after.Steps...)
	}
	for i := range after.Refused {
		if r := &after.Refused[i]; !slices.Contains(before.Refused, *r) {
			a.log.Load().Warn("Going on without "+r.String(), logline.EventKey, "Going on without a hook", "hook", r.What)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	a.log.Load().Warn("The new code hangs in Celery's MainProcess what takes effect when the worker is started again: "+strings.Join(names, ", "),
		logline.EventKey, "New in the MainProcess", "names", names)
}

// hears tells whether the app has receivers of a signal.
func (m *MainProcess) hears(signal string) bool {
	return slices.Contains(m.hooks.Load().Signals, signal)
}

// registerCommands registers the app's own commands of remote control. A command of the Go
// program's comes before one of the same name, and both before Celery's.
func (a *App) registerCommands(reg *tasks.Registry) {
	for name := range a.Manifest().Hooks.Commands {
		if _, ok := reg.LookupCommand(name); ok {
			continue
		}
		reg.RegisterCommand(name, func(ctx context.Context, _ map[string]any) (any, error) {
			m := a.main.Load()
			if m == nil {
				return nil, errNoStandin
			}
			return m.Command(ctx, name, tasks.Current(ctx).Kwargs)
		}, tasks.Params("**kwargs"))
	}
}
