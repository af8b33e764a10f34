package tasks_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	worker := slog.New(slog.NewTextHandler(&out, nil)).With("worker", "w@h")
	reg := tasks.NewRegistry()
	reg.Register("shop.add", func(ctx context.Context, x, y int) int {
		tasks.Logger(ctx).Info("adding", "x", x)
		return x + y
	})
	entry, _ := reg.Lookup("shop.add")
	req := &tasks.Request{Task: &protocol.Task{Name: "shop.add", ID: "some-id", Args: []byte("[1, 2]")}, Log: worker}
	if _, err := entry.Call(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if want := "msg=adding worker=w@h task_name=shop.add task_id=some-id x=1\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %s, want %s", out.String(), want)
	}
	if log := tasks.Logger(t.Context()); log != slog.Default() {
		t.Errorf("outside of a task: %v", log)
	}
}
