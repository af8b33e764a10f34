package cli

import (
	"context"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// sendsEvents tells whether there is an event dispatcher at all, as Celery has it: remote
// control can switch the events of tasks on and off only if there is one.
func (s *workerSettings) sendsEvents() bool {
	return s.taskEvents || !s.withoutHeartbeat || !s.withoutGossip
}

// newDispatcher makes what sends the events of a worker, and lets it observe the worker.
func (p *program) newDispatcher(s *workerSettings, w *worker.Config, to broker.Broadcaster) (*events.Dispatcher, error) {
	w.Clock = new(worker.Clock)
	cfg := events.Config{
		Broadcaster: to, Hostname: s.hostname, Clock: w.Clock, Version: version(), Logger: s.log,
		TaskEvents: s.taskEvents, Exchange: s.conf.EventExchange, Heartbeat: s.heartbeatInterval,
	}
	if s.withoutHeartbeat {
		cfg.Heartbeat = -1
	}
	dispatcher, err := events.New(cfg)
	if err != nil {
		return nil, err
	}
	w.Observers = append(w.Observers, dispatcher)
	if s.conf.TaskSendSentEvent {
		p.reg.Connect(tasks.Hooks{AfterPublish: func(_ context.Context, task *protocol.Task) { dispatcher.TaskSent(task) }})
	}
	return dispatcher, nil
}

// startEvents has events sent. When ctx is done, the worker is announced as offline; what
// its last tasks do is sent until the returned function is called, which waits for the end.
func startEvents(ctx context.Context, w *worker.Worker, dispatcher *events.Dispatcher) (end func()) {
	drained := make(chan struct{})
	wait := beside(func() { dispatcher.Run(ctx, w, drained) })
	return func() {
		close(drained)
		wait()
	}
}
