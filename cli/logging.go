package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/worker"
)

var levels = []struct {
	name  string
	level slog.Level
}{
	{"DEBUG", slog.LevelDebug},
	{"INFO", slog.LevelInfo},
	{"WARNING", slog.LevelWarn},
	{"ERROR", slog.LevelError},
	{"CRITICAL", worker.LevelCritical},
	{"FATAL", worker.LevelCritical},
}

func parseLevel(name string) (slog.Level, error) {
	var names []string
	for _, l := range levels {
		if strings.EqualFold(l.name, name) {
			return l.level, nil
		}
		names = append(names, "'"+l.name+"'")
	}
	return 0, fmt.Errorf("'%s' is not one of %s", strings.ToUpper(name), strings.Join(names, ", "))
}

// levelName is the name Python prints.
func levelName(level slog.Level) string {
	switch {
	case level >= worker.LevelCritical:
		return "CRITICAL"
	case level >= slog.LevelError:
		return "ERROR"
	case level >= slog.LevelWarn:
		return "WARNING"
	case level >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// logFormats are the values of --log-format.
var logFormats = []string{"text", "json"}

// newLogHandler returns the handler of a log format.
func newLogHandler(out io.Writer, format string, level slog.Leveler, color bool) slog.Handler {
	if format != "json" {
		return &textHandler{out: out, level: level, color: color, format: &logFormat, taskFormat: &taskLogFormat}
	}
	return jsonHandler{Handler: slog.NewJSONHandler(out, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if l, ok := a.Value.Any().(slog.Level); ok && a.Key == slog.LevelKey && len(groups) == 0 {
				a.Value = slog.StringValue(levelName(l))
			}
			return a
		},
	})}
}

// jsonHandler prints an object a line. Its msg is the same for all lines of a kind, so that
// they can be grouped by it: the event of a line that has one, in place of Celery's text. Of
// what a task logs, message and attributes are its author's.
type jsonHandler struct {
	slog.Handler
	task bool // it is a task's logger
}

func (h jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.task {
		return h.Handler.Handle(ctx, r)
	}
	line := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case logline.EventKey:
			line.Message = a.Value.String()
		case logline.LinesKey:
		default:
			line.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, line)
}

func (h jsonHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	_, _, task := logline.IsTask(attrs)
	return jsonHandler{h.Handler.WithAttrs(attrs), h.task || task}
}

func (h jsonHandler) WithGroup(name string) slog.Handler {
	return jsonHandler{h.Handler.WithGroup(name), h.task}
}

// textHandler prints lines as Celery does by default (worker_log_format):
//
//	[2026-11-23 09:00:00,123: INFO/MainProcess] Task proj.add[…] received
//
// What a task logs (tasks.Logger) has its name and id in front, as in worker_task_log_format:
//
//	[2026-11-23 09:00:00,123: INFO/MainProcess] proj.add[…]: text
//
// A traceback follows on the lines after the message, other attributes as key=value;
// those of an event are in its message already.
type textHandler struct {
	out   io.Writer
	level slog.Leveler
	color bool
	attrs string // of WithAttrs, formatted

	format, taskFormat *lineFormat // that of a task's logger is the second
	taskName, taskID   string      // "": it is not a task's logger
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}
func (h *textHandler) WithGroup(string) slog.Handler { return h }

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	if name, id, ok := logline.IsTask(attrs); ok {
		with.taskName, with.taskID, with.format = logline.Escape(name), logline.Escape(id), h.taskFormat
		return &with
	}
	for _, a := range attrs {
		with.attrs = string(appendAttr([]byte(with.attrs), a))
	}
	return &with
}

var linePool = sync.Pool{New: func() any { return new([]byte) }}

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	buf := linePool.Get().(*[]byte)
	defer linePool.Put(buf)
	b := h.appendLine((*buf)[:0], &r)
	b = append(b, '\n')
	if !utf8.Valid(b) {
		b = escapeBytes(b)
	}
	*buf = b
	_, err := h.out.Write(b)
	return err
}

func (h *textHandler) appendLine(b []byte, r *slog.Record) []byte {
	level, color, reset := levelName(r.Level), "", ""
	if h.color && levelColors[level] != "" {
		color, reset = levelColors[level], colorReset
	}
	told := toldIn(r)
	if h.taskName != "" { // the attributes are those of the task's author
		told.event, told.lines = false, false
	}
	colored := false // to the end of the line, with the traceback
	for i, name := range h.format.names {
		b = append(b, h.format.texts[i]...)
		switch name {
		case "asctime":
			b = r.Time.AppendFormat(b, "2006-01-02 15:04:05,000")
		case "levelname":
			b = append(b, level...)
		case "message":
			b = h.appendMessage(append(b, color...), r, &told)
			if colored = i == len(h.format.names)-1; !colored {
				b = append(b, reset...)
			}
		case "task_name":
			b = append(b, h.taskName...)
		case "task_id":
			b = append(b, h.taskID...)
		default:
			b = append(b, fieldValues[name]...)
		}
	}
	b = append(b, h.format.texts[len(h.format.names)]...)
	if told.traceback != "" {
		b = append(append(b, '\n'), strings.TrimRight(told.traceback, "\n")...)
	}
	if colored {
		b = append(b, reset...)
	}
	return b
}

// appendMessage appends the message, and the attributes that are not in it.
func (h *textHandler) appendMessage(b []byte, r *slog.Record, told *told) []byte {
	b = logline.AppendEscaped(b, r.Message, told.lines)
	if h.attrs != "" { // in the line, where the text ends with an empty one as Celery's do
		text := bytes.TrimRight(b, "\n")
		b = slices.Insert(b, len(text), []byte(h.attrs)...)
	}
	if !told.event {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key != worker.TracebackKey && (a.Key != logline.LinesKey || h.taskName != "") {
				b = appendAttr(b, a)
			}
			return true
		})
	}
	return b
}

// told is what attributes say about a line.
type told struct {
	event, lines bool
	traceback    string
}

func toldIn(r *slog.Record) (t told) {
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case worker.TracebackKey:
			t.traceback = a.Value.String()
		case logline.EventKey:
			t.event = true
		case logline.LinesKey:
			t.lines = true
		}
		return true
	})
	return t
}

// escapeBytes writes bytes that are no UTF-8 as Python's backslashreplace does, which its
// stderr has.
func escapeBytes(line []byte) (escaped []byte) {
	for len(line) > 0 {
		r, size := pyjson.DecodeRune(line)
		if size == 1 && r >= utf8.RuneSelf {
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		} else {
			escaped = append(escaped, line[:size]...)
		}
		line = line[size:]
	}
	return escaped
}

func appendAttr(b []byte, a slog.Attr) []byte {
	value := a.Value.String()
	if strings.ContainsAny(value, " \"=") || logline.Escape(value) != value {
		value = strconv.Quote(value)
	}
	return append(append(append(append(b, ' '), a.Key...), '='), value...)
}

const colorReset = "\x1b[0m"

// levelColors are Celery's: blue, yellow, red, magenta. INFO has none.
var levelColors = map[string]string{
	"DEBUG":    "\x1b[1;34m",
	"WARNING":  "\x1b[1;33m",
	"ERROR":    "\x1b[1;31m",
	"CRITICAL": "\x1b[1;35m",
}
