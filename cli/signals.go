package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/worker"
)

// stopSignals are the signals that end a worker.
var stopSignals = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}

// What a worker is doing about its end, as signals have it.
const (
	stageServing = iota
	stageWarm    // running tasks finish, nothing else starts
	stageCold    // they are cancelled, after the soft shutdown if there is one
	stageHurried // they are cancelled at once
)

// stopper turns signals into the ways a worker ends, as Celery's prefork pool does:
//
//	SIGTERM  warm; again: nothing more
//	SIGINT   warm; again: cold
//	SIGQUIT  cold; again, or SIGINT: the soft shutdown is over
//	SIGHUP   has a Python app's code loaded anew; without one, warm, and the program starts
//	         again. In a terminal, which is lost then, just warm
//	SIGUSR1  logs all stacks
//
// A signal acts first and prints then.
type stopper struct {
	remapTerm bool // REMAP_SIGTERM=SIGQUIT: SIGTERM is SIGQUIT
	restarts  bool // SIGHUP starts the program again

	warm    context.Context //nolint:containedctx // done: a warm shutdown
	cold    context.Context //nolint:containedctx // done: a cold one
	hurried context.Context //nolint:containedctx // done: without a soft one before it

	stopWarm           context.CancelCauseFunc // with an *app.StopSignal, if a signal is told to the app
	stopCold, stopSoft context.CancelFunc

	supervisor *supervised // nil: nobody is told; set before any signal is handled

	voice  atomic.Pointer[voice]                       // nil: nobody can be told yet
	reload atomic.Pointer[func(context.Context) error] // loads the app's code anew; nil: there is none

	reloads sync.WaitGroup

	level       int
	interrupted bool // SIGINT came before
	status      int  // exit status
	restart     bool // the program is to start again

	last   os.Signal
	lastAt time.Time
}

// voice is how a worker says what signals do.
type voice struct {
	out io.Writer
	log *slog.Logger
}

func newStopper(ctx context.Context) *stopper {
	s := &stopper{remapTerm: os.Getenv("REMAP_SIGTERM") == "SIGQUIT"}
	s.warm, s.stopWarm = context.WithCancelCause(ctx)
	s.cold, s.stopCold = context.WithCancel(context.WithoutCancel(ctx))
	s.hurried, s.stopSoft = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// release frees what the contexts hold.
func (s *stopper) release() {
	s.stopWarm(nil)
	s.stopCold()
	s.stopSoft()
	s.reloads.Wait()
}

// echo is how soon a signal is taken for the one before: timeout(1) and some
// supervisors send it to the process and once more to its group.
const echo = 100 * time.Millisecond

// watch handles signals until done is closed.
func (s *stopper) watch(signals <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case sig := <-signals:
			s.handle(sig, time.Now())
		case <-done:
			return
		}
	}
}

func (s *stopper) handle(sig os.Signal, at time.Time) {
	repeated := sig == s.last && at.Sub(s.lastAt) < echo
	s.last, s.lastAt = sig, at
	switch {
	case isDump(sig):
		s.dump()
	case repeated:
	case isHangup(sig):
		s.hangUp()
	case sig == syscall.SIGQUIT, sig == syscall.SIGTERM && s.remapTerm, sig == syscall.SIGINT && (s.interrupted || s.level >= stageCold):
		s.restart = false
		s.goCold(sig)
	default:
		s.restart = false
		s.goWarm(sig)
	}
}

func (s *stopper) goWarm(sig os.Signal) {
	if s.level >= stageCold {
		return
	}
	s.supervisor.stopping()
	s.stopWarm(&app.StopSignal{Name: signalName(sig)})
	if sig == syscall.SIGINT {
		s.interrupted = true
		if s.level == stageServing {
			s.status = exitFailure // as Celery's
		}
		s.say("worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!")
	}
	s.level = stageWarm
	s.say("worker: Warm shutdown (MainProcess)")
}

// goCold begins a cold shutdown, or ends the soft one before it. Nothing more can be done
// about one that has begun: it ends soon.
func (s *stopper) goCold(sig os.Signal) {
	switch s.level {
	case stageServing, stageWarm:
		s.level = stageCold
		s.supervisor.stopping()
		s.stopWarm(&app.StopSignal{Name: signalName(sig), Cold: true})
		s.stopCold()
		s.say("worker: Hitting Ctrl+C again will terminate all running tasks!")
		s.say("worker: Cold shutdown (MainProcess)")
	case stageCold:
		s.level = stageHurried
		s.stopSoft()
		s.say("Waiting gracefully for cold shutdown to complete...")
	}
}

// signalName is the name of a stop signal.
func signalName(sig os.Signal) string {
	return map[os.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT", syscall.SIGQUIT: "SIGQUIT"}[sig]
}

// hangUp has the app's code loaded anew, or starts the program again when its tasks are done.
// One that loses its terminal just ends with them.
func (s *stopper) hangUp() {
	if s.level != stageServing {
		return
	}
	if reload := s.reload.Load(); reload != nil && s.restarts {
		s.reloads.Go(func() { s.loadAnew(*reload) })
		return
	}
	s.stopWarm(nil) // Celery's receivers of worker_shutting_down are not told either
	s.level = stageWarm
	if s.restart = s.restarts; s.restart {
		s.supervisor.reloading() // until the program that takes over is ready
		s.say("Restarting celery worker (" + strings.Join(os.Args, " ") + ")")
		return
	}
	s.supervisor.stopping()
	s.say("worker: Warm shutdown (MainProcess)")
}

// loadAnew has the app's code loaded anew, while the worker goes on with what it has.
func (s *stopper) loadAnew(reload func(context.Context) error) {
	defer s.supervisor.reloading()()
	log := s.voice.Load().log
	log.Info("Loading the app's code anew", logline.EventKey, "Loading the app's code anew")
	if err := reload(s.warm); err != nil && s.warm.Err() == nil {
		log.Error("The app's code could not be loaded anew, and the worker goes on as it was: "+err.Error(),
			logline.EventKey, "The app's code could not be loaded anew", "error", err)
	}
}

// speak tells where to say what signals do.
func (s *stopper) speak(out io.Writer, log *slog.Logger) {
	s.voice.Store(&voice{out, log})
}

func (s *stopper) say(text string) {
	if v := s.voice.Load(); v != nil {
		fmt.Fprint(v.out, "\n"+text+"\n")
	}
}

// dump logs the stacks of all goroutines (Celery's cry).
func (s *stopper) dump() {
	v := s.voice.Load()
	if v == nil {
		return
	}
	for size := 1 << 20; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= 64<<20 {
			v.log.Error("Stacks of all goroutines", logline.EventKey, "Stacks", worker.TracebackKey, string(buf[:n]))
			return
		}
	}
}

// catch has signals sent to a channel instead of ending the program.
func catch(which ...os.Signal) chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, which...)
	return signals
}
