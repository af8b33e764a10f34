package tasks_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

func TestPeriodicTellsMistakes(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	reg.Periodic(time.Minute, canvas.Sig("t.a"))
	for _, c := range []struct {
		when any
		sig  canvas.Signature
		opts []tasks.PeriodicOption
		want string
	}{
		{time.Hour, canvas.Sig("t.a"), nil, `a periodic task named "t.a" is registered already`},
		{"* * * *", canvas.Sig("t.b"), nil, "has 4 fields"},
		{"0 0 31 2 *", canvas.Sig("t.b"), nil, "never occurs"},
		{time.Duration(0), canvas.Sig("t.b"), nil, "longer than 0 seconds"},
		{30, canvas.Sig("t.b"), nil, "int is no schedule"},
		{nil, canvas.Sig("t.b"), nil, "is no schedule"},
		{time.Hour, canvas.Signature{}, nil, "there is nothing to call"},
		{time.Hour, canvas.Sig("t.b", math.Sqrt), nil, "there is nothing to call"},
		{time.Hour, canvas.Sig("t.b"), []tasks.PeriodicOption{tasks.Zone(time.UTC)}, "Zone is that of a crontab's text"},
		{"* * * * *", canvas.Sig("t.b"), []tasks.PeriodicOption{tasks.StartingDeadline(-1)}, "must not be negative"},
	} {
		err := reg.TryPeriodic(c.when, c.sig, c.opts...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %s: %v", c.when, c.sig.Task(), err)
		}
	}
	if all := reg.PeriodicTasks(); len(all) != 1 {
		t.Errorf("%d are registered", len(all))
	}
	defer func() {
		if message, _ := recover().(string); !strings.Contains(message, `Periodic("t.a")`) {
			t.Errorf("%q", message)
		}
	}()
	reg.Periodic(time.Hour, canvas.Sig("t.a"))
}

// A typed task is sent with its own options, and with those of the periodic task, which come first.
func TestPeriodicOptions(t *testing.T) {
	t.Parallel()
	type args struct{ X int }
	task := tasks.Define("t.x", func(context.Context, args) (int, error) { return 0, nil }, tasks.Queue("a"), tasks.Priority(3))
	reg := tasks.NewRegistry()
	task.Periodic(reg, "0 4 * * *", args{7}, tasks.PeriodicName("nightly"), tasks.Queue("b"), tasks.Expires(time.Minute),
		tasks.StartingDeadline(time.Hour))
	every, err := schedule.NewRelative(2*time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.TryPeriodic(reg, every, args{8}); err != nil {
		t.Fatal(err)
	}

	all := reg.Clone().PeriodicTasks()
	if len(all) != 2 || all[0].Name != "nightly" || all[1].Name != "t.x" || all[1].Schedule(nil) != every {
		t.Fatalf("%+v", all)
	}
	sig := all[0].Signature
	if got := string(sig.Kwargs()); got != `{"x": 7}` {
		t.Error(got)
	}
	for name, want := range map[string]string{"queue": `"b"`, "priority": "3", "expires": "60"} {
		if got := string(sig.Option(name)); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	if d := all[0].StartingDeadline; d == nil || *d != time.Hour {
		t.Error(d)
	}
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	if got := all[0].Schedule(tokyo).Next(time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)); got.Hour() != 19 {
		t.Error(got)
	}
}
