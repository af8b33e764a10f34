package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

var logTime = time.Date(2026, 11, 23, 9, 0, 0, 123999000, time.UTC)

func record(level slog.Level, message string, attrs ...slog.Attr) slog.Record {
	r := slog.NewRecord(logTime, level, message, 0)
	r.AddAttrs(attrs...)
	return r
}

func TestTextLogLines(t *testing.T) {
	t.Parallel()
	task := []slog.Attr{logline.Event("Task received"), slog.String("task_name", "proj.add"), slog.String("task_id", "9b1deb4d")}
	tests := []struct {
		name   string
		color  bool
		record slog.Record
		want   string
	}{
		{
			"task", false, record(slog.LevelInfo, "Task proj.add[9b1deb4d] received", task...),
			"[2026-11-23 09:00:00,123: INFO/MainProcess] Task proj.add[9b1deb4d] received\n",
		},
		{
			"traceback", false,
			record(slog.LevelError, "Task proj.add[9b1deb4d] raised unexpected: ValueError('x')",
				slog.String(worker.TracebackKey, "Traceback (most recent call last):\nValueError: x\n"), task[0], task[1]),
			"[2026-11-23 09:00:00,123: ERROR/MainProcess] Task proj.add[9b1deb4d] raised unexpected: ValueError('x')\n" +
				"Traceback (most recent call last):\nValueError: x\n",
		},
		{
			"attributes", false,
			record(slog.LevelWarn, "Cannot claim", slog.Any("error", errors.New("i/o timeout")), slog.Int("try", 2)),
			"[2026-11-23 09:00:00,123: WARNING/MainProcess] Cannot claim error=\"i/o timeout\" try=2\n",
		},
		{
			"no UTF-8", false, record(slog.LevelInfo, "Task a[caf\xe9] received: é"),
			"[2026-11-23 09:00:00,123: INFO/MainProcess] Task a[caf\\udce9] received: é\n",
		},
		{
			"forged", false, record(slog.LevelInfo, "Task a\n[2026-11-23 09:00:00,123: INFO/MainProcess] x\r\x1b[2K\u2028\u0085\tb[1] received"),
			"[2026-11-23 09:00:00,123: INFO/MainProcess] Task a\\n[2026-11-23 09:00:00,123: INFO/MainProcess] x\\r\\x1b[2K\\u2028\\x85\tb[1] received\n",
		},
		{
			"forged attribute", false, record(slog.LevelInfo, "Cannot claim", slog.String("error", "a\rb")),
			"[2026-11-23 09:00:00,123: INFO/MainProcess] Cannot claim error=\"a\\rb\"\n",
		},
		{
			"lines of our own", false, record(slog.LevelError, "Unknown.\n\nThe message: \x00", logline.Lines()),
			"[2026-11-23 09:00:00,123: ERROR/MainProcess] Unknown.\n\nThe message: \\x00\n",
		},
		{"critical", false, record(worker.LevelCritical, "x"), "[2026-11-23 09:00:00,123: CRITICAL/MainProcess] x\n"},
		{"debug", false, record(slog.LevelDebug, "x"), "[2026-11-23 09:00:00,123: DEBUG/MainProcess] x\n"},
		{"red", true, record(slog.LevelError, "x"), "[2026-11-23 09:00:00,123: ERROR/MainProcess] \x1b[1;31mx\x1b[0m\n"},
		{"info has no color", true, record(slog.LevelInfo, "x"), "[2026-11-23 09:00:00,123: INFO/MainProcess] x\n"},
	}
	named := newLogHandler(io.Discard, "text", slog.LevelDebug, false).WithAttrs([]slog.Attr{slog.String("shard", "a")}).(*textHandler)
	for text, want := range map[string]string{
		"ready.":            "ready. shard=a",
		"in 2 s...\n":       "in 2 s... shard=a\n", // as Celery's lines about connections
		"no.\nBut why?\n\n": "no.\nBut why? shard=a\n\n",
	} {
		r := record(slog.LevelInfo, text, logline.Lines())
		if got := string(named.appendMessage(nil, &r, &told{event: true, lines: true})); got != want {
			t.Errorf("%q of a shard is %q, want %q", text, got, want)
		}
	}
	for _, test := range tests {
		var out bytes.Buffer
		h := newLogHandler(&out, "text", slog.LevelDebug, test.color)
		if err := h.Handle(t.Context(), test.record); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestJSONLogLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := newLogHandler(&out, "json", slog.LevelInfo, true)
	r := record(worker.LevelCritical, "9b1deb4d gone", logline.Event("gone"), slog.String("task_id", "9b1deb4d"))
	if err := h.WithAttrs([]slog.Attr{slog.String("worker", "w@h")}).Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"time": "2026-11-23T09:00:00.123999Z", "level": "CRITICAL", "msg": "gone", "task_id": "9b1deb4d", "worker": "w@h"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a task logs has its name and id, as with Celery's worker_task_log_format, and all that its
// author gives along, whatever our own lines use such attributes for.
func TestLogOfATask(t *testing.T) {
	t.Parallel()
	ctx := func(log *slog.Logger) context.Context {
		return tasks.NewContext(t.Context(), &tasks.Request{Task: &protocol.Task{Name: "proj.add", ID: "9b\n"}, Log: log})
	}
	said := record(slog.LevelWarn, "one\ntwo", logline.Event("paid"), slog.Bool("lines", true), slog.Int("sum", 3))
	for format, want := range map[string]string{
		"text": "[2026-11-23 09:00:00,123: WARNING/MainProcess] proj.add[9b\\n]: one\\ntwo shop=a event=paid lines=true sum=3\n",
		"json": `{"time":"2026-11-23T09:00:00.123999Z","level":"WARNING","msg":"one\ntwo","worker":"w@h",` +
			`"task_name":"proj.add","task_id":"9b\n","shop":"a","event":"paid","lines":true,"sum":3}` + "\n",
	} {
		var out bytes.Buffer
		log := slog.New(newLogHandler(&out, format, slog.LevelInfo, false))
		if format == "json" {
			log = log.With("worker", "w@h")
		}
		if err := tasks.Logger(ctx(log)).With("shop", "a").Handler().Handle(t.Context(), said); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "INFO": slog.LevelInfo, "Warning": slog.LevelWarn,
		"ERROR": slog.LevelError, "CRITICAL": worker.LevelCritical, "fatal": worker.LevelCritical,
	} {
		got, err := parseLevel(name)
		if err != nil || got != want {
			t.Errorf("parseLevel(%q) = %v, %v, want %v", name, got, err, want)
		}
	}
	_, err := parseLevel("bogus")
	want := "'BOGUS' is not one of 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'FATAL'"
	if err == nil || err.Error() != want {
		t.Errorf("parseLevel(bogus): %v, want %s", err, want)
	}
	var out bytes.Buffer
	log := slog.New(newLogHandler(&out, "text", slog.LevelWarn, false))
	log.Info("hidden")
	log.Warn("shown")
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "shown") {
		t.Errorf("at level WARNING: %q", got)
	}
}

// slowWriter says when a write begins and holds it until open is closed.
type slowWriter struct {
	begun  chan struct{}
	open   chan struct{}
	got    bytes.Buffer
	writes int
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes == 1 {
		close(w.begun)
	}
	<-w.open
	return w.got.Write(p)
}

func TestLineWriterGroupsLines(t *testing.T) {
	t.Parallel()
	slow := &slowWriter{begun: make(chan struct{}), open: make(chan struct{})}
	lines := newLineWriter(slow)
	go func() { _, _ = lines.Write([]byte("first\n")) }()
	<-slow.begun
	const n = 100
	for range n {
		if _, err := lines.Write([]byte("line\n")); err != nil { // returns at once
			t.Fatal(err)
		}
	}
	close(slow.open)
	lines.Flush()
	if want := "first\n" + strings.Repeat("line\n", n); slow.got.String() != want || slow.writes != 2 {
		t.Errorf("%d writes: %q", slow.writes, slow.got.String())
	}
}

func BenchmarkTextLog(b *testing.B) {
	b.ReportAllocs()
	log := slog.New(newLogHandler(newLineWriter(discard{}), "text", slog.LevelInfo, false))
	for b.Loop() {
		log.Info("Task proj.add[9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d] received",
			logline.Event("Task received"), slog.String("task_name", "proj.add"), slog.String("task_id", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"))
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
