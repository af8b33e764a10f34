package cli

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/logline"
)

// notices is where a worker says what Celery's prints beside its log: the banner, and what
// a signal does. Among lines of JSON they are such lines, too.
func (s *workerSettings) notices(out io.Writer) io.Writer {
	if s.conf.LogFormat == "json" {
		return noticeLog{s.log}
	}
	return out
}

// noticeLog logs what is written to it, without empty lines.
type noticeLog struct{ log *slog.Logger }

func (n noticeLog) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimSpace(line); line != "" {
			n.log.Warn(line, logline.EventKey, line)
		}
	}
	return len(p), nil
}

// showBanner shows what a starting worker is made of.
func (p *program) showBanner(s *workerSettings, w *app.Worker) {
	b := p.banner(s, w)
	switch {
	case s.conf.LogFormat == "json":
		var queues []string
		for _, q := range b.queues {
			queues = append(queues, q.Name)
		}
		s.log.Info("Worker starts", "version", b.version, "platform", b.platform, "app", b.app, "broker", b.transport,
			"results", b.results, "concurrency", b.concurrency, "pool", b.pool, "task_events", b.taskEvents,
			"queues", queues, "tasks", p.reg.Names())
	case !s.quiet:
		b.write(p.stdout, s.color && isTerminal(p.stdout))
	}
}

// lines are what the log is written in: text as Celery's, or JSON.
func (s *workerSettings) lines(out io.Writer, color bool) *slog.Logger {
	handler := newLogHandler(out, s.conf.LogFormat, s.level, color)
	if lines, ok := handler.(*textHandler); ok {
		lines.format, lines.taskFormat = &s.logLines, &s.taskLogLines
	}
	if zone := s.zone(); zone != time.Local {
		handler = zonedHandler{handler, zone}
	}
	return slog.New(handler)
}

// logger is the worker's: JSON names it in every line.
func (s *workerSettings) logger(out io.Writer, color bool) *slog.Logger {
	log := s.lines(out, color)
	if s.conf.LogFormat == "json" {
		return log.With("worker", s.opts.Hostname)
	}
	return log
}

// purged tells how much --purge has dropped.
func (s *workerSettings) purged(out io.Writer, total int) {
	text := fmt.Sprintf("purge: Erased %d %s from the queue.", total, plural(total, "message"))
	if s.conf.LogFormat == "json" {
		s.log.Warn(text, logline.EventKey, "Purged", "count", total)
		return
	}
	fmt.Fprint(out, text+"\n\n")
}
