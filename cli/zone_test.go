package cli

import (
	"bytes"
	"log/slog"
	"testing"
	"time"
)

func TestLogTimeOfAZone(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	zone := time.FixedZone("+05:30", 5*3600+1800)
	h := zonedHandler{newLogHandler(&out, "text", slog.LevelInfo, false), zone}
	if err := h.WithGroup("").WithAttrs([]slog.Attr{slog.Int("n", 1)}).Handle(t.Context(), record(slog.LevelInfo, "x")); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "[2026-11-23 14:30:00,123: INFO/MainProcess] x n=1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
