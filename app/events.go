package app

import (
	"context"

	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// sendsEvents tells whether there is an event dispatcher at all, as Celery has it: remote
// control can switch the events of tasks on and off only if there is one.
func (w *Worker) sendsEvents() bool {
	return w.conf.WorkerSendTaskEvents || !w.opts.WithoutHeartbeat || !w.opts.WithoutGossip
}

// newDispatcher makes what sends the events of a worker, and lets it observe the worker.
func (s *service) newDispatcher(cfg *worker.Config) (err error) {
	of := events.Config{
		Broadcaster: s.publisher, Hostname: cfg.Hostname, Clock: cfg.Clock, Version: build.Version(), Logger: s.log,
		TaskEvents: s.conf.WorkerSendTaskEvents, Exchange: s.conf.EventExchange, Heartbeat: s.opts.HeartbeatInterval,
	}
	if s.main != nil {
		of.OnHeartbeat = s.main.HeartbeatSent
	}
	if s.opts.WithoutHeartbeat {
		of.Heartbeat = -1
	}
	if s.dispatcher, err = events.New(of); err != nil {
		return err
	}
	cfg.Observers = append(cfg.Observers, s.dispatcher)
	s.tellSent(cfg, s.dispatcher.TaskSent)
	return nil
}

// tellSent has somebody told of each task that the worker publishes, if such events are wanted.
func (s *service) tellSent(cfg *worker.Config, tell func(*protocol.Task)) {
	if s.conf.TaskSendSentEvent {
		cfg.Hooks = append(cfg.Hooks, tasks.Hooks{AfterPublish: func(_ context.Context, task *protocol.Task) { tell(task) }})
	}
}

// startEvents has events sent. When ctx is done, the worker is announced as offline; what
// its last tasks do is sent until the returned function is called, which waits for the end.
func (s *service) startEvents(ctx context.Context) (end func()) {
	drained := make(chan struct{})
	wait := beside(func() { s.dispatcher.Run(ctx, s.runner, drained) })
	return func() {
		close(drained)
		wait()
	}
}
