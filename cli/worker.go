package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/events"
	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/metrics"
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
func (p *program) runWorker(c *cli.Context) error {
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

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, stopSignals...)
	defer signal.Stop(signals)
	warm, stopWarm := context.WithCancel(c.Context)
	defer stopWarm()
	cold, stopCold := context.WithCancel(context.WithoutCancel(c.Context))
	defer stopCold()
	stop := stopper{
		out:       s.notices(p.stdout),
		remapTerm: os.Getenv("REMAP_SIGTERM") == "SIGQUIT",
		warm:      stopWarm,
		cold:      stopCold,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = p.serve(warm, cold, s)
	}()
	if hard := stop.watch(signals, done); hard {
		return statusError(exitFailure)
	}
	if err == nil && stop.status != exitOK {
		return statusError(stop.status)
	}
	return err
}

// serve connects and runs a worker until warm is done; cold done aborts it.
func (p *program) serve(warm, cold context.Context, s *workerSettings) (err error) {
	p.showBanner(s)
	for _, warning := range s.warnings {
		s.log.Warn(warning, logline.EventKey, "Configuration warning", "warning", warning)
	}
	cfg := s.worker
	cfg.Registry, cfg.Logger = p.reg, s.log
	figures, endMetrics, err := s.startMetrics(warm, &cfg)
	if err != nil {
		return err
	}
	defer endMetrics()
	consumer, err := s.openConsumer(warm, p.stdout)
	if err != nil {
		return unlessDone(warm, err)
	}
	defer func() { err = errors.Join(err, consumer.Close()) }()
	cfg.Consumer = consumer
	s.brokerStats.consumer.Store(consumer)
	publisher, err := s.OpenPublisher(warm)
	if err != nil {
		return unlessDone(warm, err)
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	cfg.Publisher = publisher
	s.log.Info("Connected to "+s.Consumer.Redis.String(), logline.EventKey, "Connected to the broker", "broker", s.Consumer.Redis.String())
	if s.Results.Redis != nil {
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
	defer context.AfterFunc(cold, w.Abort)()
	return p.work(warm, s, w, publisher, dispatcher)
}

// work runs a worker, and has it answer to remote control, listen to other workers
// and send events while it runs.
func (p *program) work(
	warm context.Context, s *workerSettings, w *worker.Worker, publisher *redisbroker.Publisher, dispatcher *events.Dispatcher,
) error {
	warm, stop := context.WithCancel(warm)
	defer stop()
	s.mingle(warm, w, publisher)
	node, err := s.newNode(w, publisher, dispatcher)
	if err != nil {
		return err
	}
	endControl, err := p.startControl(warm, stop, s, w, publisher, dispatcher, node)
	if err != nil {
		return err
	}
	endGossip := s.startGossip(warm, node)
	endEvents := startEvents(warm, w, dispatcher)
	endForwarding := s.watchForwarding(warm, w, publisher)
	endMemory := beside(func() { giveBackMemory(warm) })
	s.log.Info(s.hostname+" ready.", logline.EventKey, "Worker ready")
	err = w.Run(warm)
	stop()
	endControl()
	endGossip()
	endEvents()
	endForwarding()
	endMemory()
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
func (s *workerSettings) startMetrics(ctx context.Context, cfg *worker.Config) (figures *metrics.Metrics, end func(), err error) {
	if s.metricsAddr == "" {
		return nil, func() {}, nil
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
	return figures, func() { shutdown(ctx, server) }, nil
}

func shutdown(ctx context.Context, server *metrics.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = server.Shutdown(ctx) // scrapes under way may be cut short
}

func (p *program) banner(s *workerSettings) *banner {
	b := &banner{
		hostname:    s.hostname,
		version:     "apium " + version(),
		platform:    platform(),
		now:         time.Now(),
		app:         s.app,
		transport:   s.Consumer.Redis.String(),
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
	if s.Results.Redis != nil {
		b.results = s.Results.Redis.String()
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
func openLog(path string, stderr io.Writer) (out io.Writer, closeLog func(), err error) {
	if path == "" {
		lines := newLineWriter(stderr)
		return lines, lines.Flush, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("log file: %w", err)
	}
	lines := newLineWriter(file)
	return lines, func() {
		lines.Flush()
		_ = file.Close()
	}, nil
}
