package cli

import (
	"bytes"
	"log/slog"
	"os"
	"strconv"
	"testing"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/worker"
)

// Lines have the form that the app's settings give them, as those of its children do.
func TestLineFormat(t *testing.T) {
	t.Parallel()
	traceback := slog.String(worker.TracebackKey, "Traceback\n")
	for _, tt := range []struct{ format, line, red string }{
		{"<%(levelname)s %(processName)s> %(message)s", "<ERROR MainProcess> x\nTraceback\n", "<ERROR MainProcess> \x1b[1;31mx\nTraceback\x1b[0m\n"},
		{"%(message)s|%(process)d 100%%", "x|" + strconv.Itoa(os.Getpid()) + " 100%\nTraceback\n", "\x1b[1;31mx\x1b[0m|" + strconv.Itoa(os.Getpid()) + " 100%\nTraceback\n"},
		{"plain", "plain\nTraceback\n", "plain\nTraceback\n"},
		{"%(asctime)s %(name)s", "2026-11-23 09:00:00,123 celery.worker\nTraceback\n", "2026-11-23 09:00:00,123 celery.worker\nTraceback\n"},
	} {
		format, err := parseLineFormat(tt.format)
		if err != nil {
			t.Errorf("%s: %v", tt.format, err)
		}
		for _, color := range []bool{false, true} {
			var out bytes.Buffer
			h := &textHandler{out: &out, level: slog.LevelInfo, color: color, format: &format}
			if err := h.Handle(t.Context(), record(slog.LevelError, "x", logline.Event("x"), traceback)); err != nil {
				t.Fatal(err)
			}
			want := tt.line
			if color {
				want = tt.red
			}
			if got := out.String(); got != want {
				t.Errorf("%s: %q, want %q", tt.format, got, want)
			}
		}
	}
	for _, format := range []string{"%(nosuch)s", "%(message)-8s", "%s", "%(message", "%", "%(message)"} {
		if _, err := parseLineFormat(format); err == nil {
			t.Errorf("%s is understood", format)
		}
	}
}

// A form that only Python can fill in is for the children alone, and said so.
func TestLineFormatSetting(t *testing.T) {
	t.Parallel()
	s := readSettings(t, "worker", "worker_log_format=%(nosuch)s", "worker_task_log_format=%(task_id)s %(message)s")
	const want = "worker_log_format has no effect on this process: %(nosuch)s is not known"
	if len(s.warnings) != 1 || s.warnings[0] != "command line: "+want {
		t.Errorf("warnings: %q", s.warnings)
	}
	if s.logLines.texts[0] != "[" || s.taskLogLines.names[0] != "task_id" {
		t.Errorf("%v and %v", s.logLines, s.taskLogLines)
	}
}
