package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/operate/metrics"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

const embeddedNote = "This Redis is for trying out: it lives in this process, keeps everything in memory\n" +
	"and forgets it at the end. Python connects with broker=backend="

func (p *program) workerCommand() *cli.Command {
	return &cli.Command{
		Name:  "worker",
		Usage: "start a worker",
		UsageText: p.name + " worker --config celery.json -l INFO\n" +
			p.name + " worker -b redis://localhost -l INFO -Q hipri,lopri --concurrency=50\n" +
			p.name + " worker --embedded",
		Description: "The options of '" + p.name + " --help', such as -A, -b and --result-backend, may stand before or after 'worker'.",
		Flags:       workerFlags(),
		Action:      p.runWorker,
	}
}

// runWorker serves until a signal, or until ctx is done.
func (p *program) runWorker(c *cli.Context) (err error) {
	p.neverWaitForReaders()
	stop := newStopper(c.Context)
	defer stop.release()
	signals := p.signals
	if signals == nil {
		signals = catch(stopSignals...)
		defer signal.Stop(signals)
	} else {
		stop.restarts = !isTerminal(p.stdout)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = p.startWorker(c, stop)
	}()
	if hard := stop.watch(signals, done); hard {
		return statusError(exitFailure)
	}
	p.restart = stop.restart
	if err == nil && stop.status != exitOK {
		return statusError(stop.status)
	}
	return err
}

// neverWaitForReaders keeps what reads our output from holding us up, by stalling, or ending
// us, by going away.
func (p *program) neverWaitForReaders() {
	stdout, stderr := newLineWriter(p.stdout), newLineWriter(p.stderr)
	p.stdout, p.stderr = stdout, stderr
	gone := catch(syscall.SIGPIPE)
	p.atEnd = func() {
		stdout.Flush()
		stderr.Flush()
		signal.Stop(gone)
	}
}

// startWorker reads what a worker is to be, and serves.
func (p *program) startWorker(c *cli.Context, stop *stopper) error {
	s, err := readWorkerSettings(c)
	if err != nil {
		return err
	}
	if err := p.checkTasks(c, s); err != nil {
		return usage(c, err, false)
	}
	out, closeLog, err := openLog(s.logfile, p.stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	s.log = s.logger(out, s.color && isTerminal(p.stderr) && s.logfile == "")
	out.onLoss = func(lines int) {
		s.log.Warn(fmt.Sprintf("%d lines of the log were dropped: they could not be written", lines),
			logline.EventKey, "Lines of the log were dropped", "count", lines)
	}
	stop.speak(s.notices(p.stdout), s.log, s.worker.SoftShutdownTimeout)
	if s.pidfile != "" {
		remove, err := writePidfile(s.pidfile, s.notices(p.stderr))
		if err != nil {
			return err
		}
		defer remove()
	}
	if s.embedded {
		server, err := embedded.Start(s.embeddedPort)
		if err != nil {
			return err
		}
		defer server.Close()
		useEmbedded(&s.Connections, server.URL(), s.conf)
	}
	if err := s.readConsumer(); err != nil {
		return usage(c, err, false)
	}
	if stop.warm.Err() != nil {
		return nil // before anything has begun
	}
	return p.serve(stop, s)
}

// serve connects and runs a worker until it is stopped.
func (p *program) serve(stop *stopper, s *workerSettings) (err error) {
	warm := stop.warm
	p.showBanner(s)
	for _, warning := range s.warnings {
		s.log.Warn(warning, logline.EventKey, "Configuration warning", "warning", warning)
	}
	cfg := s.worker
	cfg.Registry, cfg.Logger = p.reg, s.log
	figures, endMetrics, err := s.startMetrics(&cfg)
	if err != nil {
		return err
	}
	defer func() { s.whileClosing(stop, endMetrics) }()
	consumer, err := s.openConsumer(warm, p.stdout)
	if err != nil {
		return unlessDone(warm, err)
	}
	defer s.whileClosing(stop, consumer.CloseWithin)
	cfg.Consumer = consumer
	s.brokerStats.consumer.Store(consumer)
	publisher, err := s.OpenPublisher(warm)
	if err != nil {
		return unlessDone(warm, err)
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	cfg.Publisher = publisher
	s.log.Info("Connected to "+s.Broker.String(), logline.EventKey, "Connected to the broker", "broker", s.Broker.String())
	if s.Results.URL != "" {
		store, err := s.openStore(warm)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		cfg.Store = store
		if figures != nil {
			figures.WatchReconnects("backend", store.Reconnects)
		}
	}
	dispatcher, err := p.newDispatcher(s, &cfg, publisher)
	if err != nil {
		return err
	}
	w, err := worker.New(cfg)
	if err != nil {
		return err
	}
	if figures != nil {
		figures.WatchEvents(dispatcher.Dropped)
		figures.Watch(watched{Worker: w, consumer: consumer})
		figures.WatchReconnects("broker", consumer.Reconnects)
	}
	defer context.AfterFunc(stop.cold, w.Abort)()
	defer context.AfterFunc(stop.hurried, w.AbortNow)()
	return p.work(stop, s, w, publisher, dispatcher)
}

// whileClosing closes something within the time there is for it. What is left in the broker
// is handed back by other workers.
func (s *workerSettings) whileClosing(stop *stopper, end func(context.Context) error) {
	ctx, cancel := stop.closing()
	defer cancel()
	if err := end(ctx); err != nil {
		s.log.Error("Left without saying so: "+err.Error(), logline.EventKey, "Left without saying so", "error", err.Error())
	}
}

// work runs a worker, and has it answer to remote control, listen to other workers
// and send events while it runs.
func (p *program) work(
	stop *stopper, s *workerSettings, w *worker.Worker, publisher *redisbroker.Publisher, dispatcher *events.Dispatcher,
) error {
	warm, end := context.WithCancel(stop.warm)
	defer end()
	s.mingle(warm, w, publisher)
	node, err := s.newNode(w, publisher, dispatcher)
	if err != nil {
		return err
	}
	endControl, err := p.startControl(warm, end, s, w, publisher, dispatcher, node)
	if err != nil {
		return err
	}
	endGossip := s.startGossip(warm, node)
	endEvents := startEvents(warm, w, dispatcher)
	endForwarding := s.watchForwarding(warm, w, publisher)
	endMemory := beside(func() { giveBackMemory(warm) })
	s.log.Info(s.hostname+" ready.", logline.EventKey, "Worker ready")
	err = w.Run(warm)
	stop.closeBy.Store(w.EndsBy().UnixNano())
	end()
	s.whileClosing(stop, func(ctx context.Context) error {
		return waitFor(ctx, func() { endControl(); endGossip(); endEvents(); endForwarding(); endMemory() })
	})
	return err
}

// beside runs something on a goroutine of its own; the returned function waits for its end.
func beside(run func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	return func() { <-done }
}

// waitFor calls wait, which is left to itself when ctx is done.
func waitFor(ctx context.Context, wait func()) error {
	done := make(chan struct{})
	go func() { defer close(done); wait() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the last events: %w", ctx.Err())
	}
}

// unlessDone is err, or nil if it came while the worker was being stopped.
func unlessDone(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// startMetrics serves metrics and has them observe the worker; nil if they are not wanted.
func (s *workerSettings) startMetrics(cfg *worker.Config) (figures *metrics.Metrics, end func(context.Context) error, err error) {
	if s.metricsAddr == "" {
		return nil, func(context.Context) error { return nil }, nil
	}
	figures = metrics.New(metrics.Options{
		Hostname: s.hostname, Version: version(), Broker: &s.brokerStats,
	})
	server, err := figures.Listen(s.metricsAddr)
	if err != nil {
		return nil, nil, err
	}
	served := ""
	if metrics.Address(s.metricsAddr) != s.metricsAddr {
		served = " (for this machine only; give an address such as 0.0.0.0:9808 to serve others)"
	}
	s.log.Info("Metrics at http://"+server.Addr()+"/metrics"+served, logline.EventKey, "Metrics are served", "address", server.Addr())
	cfg.Observers = append(cfg.Observers, figures)
	if s.conf.TaskSendSentEvent {
		cfg.Registry.Connect(tasks.Hooks{AfterPublish: func(_ context.Context, task *protocol.Task) { figures.TaskSent(task) }})
	}
	s.Consumer.OnClaim = figures.Claimed
	return figures, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // scrapes under way may be cut short
		return nil
	}, nil
}

func (p *program) banner(s *workerSettings) *banner {
	b := &banner{
		hostname:    s.hostname,
		version:     "apium " + version(),
		platform:    platform(),
		now:         time.Now(),
		app:         s.app,
		transport:   s.Broker.String(),
		results:     "disabled://",
		concurrency: fmt.Sprint(s.worker.Concurrency),
		pool:        s.pool,
		taskEvents:  s.taskEvents,
		queues:      s.Consumer.Queues,
	}
	if scale := s.worker.Autoscale; scale.Max > 0 {
		b.concurrency = fmt.Sprintf("{min=%d, max=%d}", scale.Min, scale.Max)
	}
	if b.app == "" {
		b.app = p.name
	}
	if s.Results.URL != "" {
		b.results = s.Backend.String()
	}
	if s.level <= slog.LevelInfo {
		b.tasks = p.reg.Names()
	}
	if s.embedded {
		b.notes = append(b.notes, embeddedNote+"'"+s.BrokerURL+"'")
	}
	return b
}

// openLog returns where log lines go: a file, or stderr when no path is given.
func openLog(path string, stderr io.Writer) (out *lineWriter, closeLog func(), err error) {
	if path == "" {
		lines, ok := stderr.(*lineWriter)
		if !ok {
			lines = newLineWriter(stderr)
		}
		return lines, lines.Flush, nil
	}
	file, err := openLogFile(path)
	if err != nil {
		return nil, nil, err
	}
	lines := newLineWriter(file)
	return lines, func() {
		lines.Flush()
		_ = file.Close()
	}, nil
}
