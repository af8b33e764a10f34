package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/internal/embedded"
	"github.com/apium/apium/internal/logline"
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
		collectRarely()
	}
	stop.supervisor = p.supervise()
	defer stop.supervisor.close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = p.startWorker(c, stop)
	}()
	stop.watch(signals, done)
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

// startWorker reads what the workers of this process are to be, most often one, and serves.
func (p *program) startWorker(c *cli.Context, stop *stopper) error {
	shards, err := readShards(c)
	if err != nil {
		return usage(c, err, false)
	}
	defer closeApps(shards)
	err = p.loadApps(stop.warm, shards)
	if stop.warm.Err() != nil {
		return nil // before anything has begun
	}
	if err != nil {
		return err
	}
	for _, sh := range shards {
		if err := p.read(sh); err != nil {
			return err
		}
	}
	if err := checkShards(shards); err != nil {
		return usage(c, err, false)
	}
	s := shards[0].s // what concerns the process is the same for all
	stop.supervisor.warn(&s.warnings)
	out, closeLog, err := openLog(s.logfile, p.stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	colored := s.color && isTerminal(p.stderr) && s.logfile == ""
	for _, sh := range shards {
		sh.s.log = sh.logger(out, colored)
	}
	log := s.log
	if shards[0].name != "" {
		log = s.lines(out, colored)
	}
	out.onLoss = func(lines int) {
		log.Warn(fmt.Sprintf("%d lines of the log were dropped: they could not be written", lines),
			logline.EventKey, "Lines of the log were dropped", "count", lines)
	}
	stop.speak(s.notices(p.stdout), log)
	if s.pidfile != "" {
		remove, err := writePidfile(s.pidfile, s.notices(p.stderr))
		if err != nil {
			return err
		}
		defer remove()
	}
	if s.embedded {
		server, err := embedded.Start(s.port)
		if err != nil {
			return err
		}
		defer server.Close()
		useEmbedded(s.conf, server.URL())
	}
	if stop.warm.Err() != nil {
		return nil // before anything has begun
	}
	if shards[0].name == "" {
		return p.serve(stop, shards[0])
	}
	return p.serveShards(stop, shards, log)
}

// serve runs the only worker until it is stopped.
func (p *program) serve(stop *stopper, sh *shard) (err error) {
	endBeat, err := p.addBeat(sh.c, stop.warm, sh.s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endBeat()) }()
	w, err := p.make(sh)
	if err != nil {
		return err
	}
	stop.supervisor.serves(w)
	p.announce(sh, w)
	if sh.project != nil {
		reload := w.Restart
		stop.reload.Store(&reload)
	}
	return stop.ended(stop.run(w))
}

// run runs a worker until a signal ends it.
func (s *stopper) run(w *app.Worker) error {
	defer context.AfterFunc(s.cold, w.Abort)()
	defer context.AfterFunc(s.hurried, w.AbortNow)()
	return w.Run(s.warm)
}

// ended is what a worker's end means to the process.
func (s *stopper) ended(err error) error {
	if errors.Is(err, app.ErrHardShutdown) {
		s.say("worker: Hard shutdown (MainProcess)")
		return statusError(exitFailure)
	}
	var exit *app.ExitError
	if errors.As(err, &exit) {
		return statusError(exit.Status)
	}
	return err
}

// announce shows what a worker is, and warns of what is without effect.
func (p *program) announce(sh *shard, w *app.Worker) {
	p.showBanner(sh.s, w)
	for _, warning := range sh.s.warnings {
		sh.s.log.Warn(warning, logline.EventKey, "Configuration warning", "warning", warning)
	}
}

func (p *program) banner(s *workerSettings, w *app.Worker) *banner {
	first, _, _ := strings.Cut(w.Broker(), ";") // of several servers Celery names that
	b := &banner{
		hostname:    w.Hostname(),
		version:     "apium " + build.Version(),
		platform:    build.Platform(),
		now:         time.Now().In(s.zone()),
		app:         cmp.Or(s.app, p.name),
		transport:   first,
		results:     cmp.Or(w.ResultBackend(), "disabled://"),
		concurrency: fmt.Sprint(w.Concurrency()),
		pool:        s.pool,
		taskEvents:  s.conf.WorkerSendTaskEvents,
		queues:      w.Queues(),
	}
	if scale := s.opts.Autoscale; scale.Max > 0 {
		b.concurrency = fmt.Sprintf("{min=%d, max=%d}", scale.Min, scale.Max)
	}
	if s.level <= slog.LevelInfo {
		b.tasks = w.Tasks()
	}
	if s.embedded {
		b.notes = append(b.notes, embeddedNote+"'"+s.conf.BrokerURL+"'")
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
