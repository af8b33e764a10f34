package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/operate/gossip"
	"github.com/apium/apium/python"
	"github.com/apium/apium/worker"
)

// service is a worker that runs: what it has connected, and what it is made of.
type service struct {
	*Worker
	consumer   *fromsettings.Consumer
	publisher  fromsettings.Publisher
	store      *fromsettings.Results // nil: results go nowhere
	runner     *worker.Worker
	dispatcher *events.Dispatcher
	node       *gossip.Node // nil: without gossip
	purged     bool
	main       *python.MainProcess       // nil: no Python app hangs anything in there
	mainTold   func()                    // waits until the MainProcess was told that the worker ends; nil: it is not told
	stoppedBy  atomic.Pointer[ExitError] // nil: the MainProcess has not ended the worker, or without a status
	closers    []func(context.Context) error
}

// onClose has something closed at the end, before what was opened earlier.
func (s *service) onClose(end func(context.Context) error) { s.closers = append(s.closers, end) }

// close closes everything, the last first.
func (s *service) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.whileClosing(s.closers[i])
	}
}

// assemble makes what runs tasks, and what tells others of them.
func (s *service) assemble() (err error) {
	cfg := s.cfg
	cfg.Consumer, cfg.Publisher = s.consumer.Consumer, s.publisher
	switch {
	case s.store != nil:
		cfg.Store = s.store.Store
		if claims, ok := cfg.Store.(interface{ ClaimLease() time.Duration }); ok && s.opts.Python != nil {
			s.opts.Python.ClaimChords(claims.ClaimLease())
		}
	case s.resultsInPython():
		store := s.opts.Python.Results()
		s.onClose(func(context.Context) error { return store.Close() })
		cfg.Store = store
	}
	s.count(&cfg)
	s.observe(&cfg)
	if err := s.newDispatcher(&cfg); err != nil {
		return err
	}
	if s.runner, err = worker.New(cfg); err != nil {
		return err
	}
	s.Worker.runner.Store(s.runner)
	if s.opts.Python != nil {
		s.opts.Python.OnRecovery(s.refresh)
	}
	s.watch()
	s.node, err = s.newNode()
	return err
}

// refresh looks which tasks the Python app has now.
func (s *service) refresh() {
	if err := s.runner.Operations().Refresh(); err != nil {
		s.log.Error("Cannot register the app's tasks again: "+err.Error(), logline.EventKey, "Cannot register the app's tasks again", "error", err)
	}
}

// run runs tasks, and has the worker answer to remote control, listen to other workers and
// send events meanwhile.
func (s *service) run(ctx context.Context, shutdown func()) error {
	defer context.AfterFunc(s.ending.cold, s.runner.Abort)()
	defer context.AfterFunc(s.ending.hurried, s.runner.AbortNow)()
	s.mingle(ctx)
	endControl, err := s.startControl(ctx, shutdown)
	if err != nil {
		return &ConfigError{err}
	}
	endGossip := s.startGossip(ctx)
	endEvents := s.startEvents(ctx)
	endForwarding := s.watchForwarding(ctx)
	endBeat := s.startBeat(ctx)
	endMemory := beside(func() { giveBackMemory(ctx) })
	if ctx.Err() == nil { // else it was stopped while it started
		s.mainReady(ctx)
		s.log.Info(s.cfg.Hostname+" ready.", logline.EventKey, "Worker ready")
	}
	err = s.runner.Run(ctx)
	s.ending.closeBy.Store(s.runner.EndsBy().UnixNano())
	shutdown()
	s.whileClosing(func(ctx context.Context) error {
		return waitFor(ctx, func() {
			endControl()
			endGossip()
			endEvents()
			endForwarding()
			endBeat()
			endMemory()
		})
	})
	if exit := s.stoppedBy.Load(); err == nil && exit != nil {
		return exit
	}
	return err
}
