package app_test

import (
	"testing"

	"github.com/apium/apium/app"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// With memory:// and cache+memory:// a whole worker needs no server: for tests of programs.
func TestInMemory(t *testing.T) {
	t.Parallel()
	conf := on("memory://in-memory")
	conf.ResultBackend = "cache+memory://in-memory"
	reg := tasks.NewRegistry()
	reg.Register("proj.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	shop := openApp(t, conf)
	if _, err := shop.Delay(t.Context(), "proj.dropped"); err != nil {
		t.Fatal(err)
	}
	purged := make(chan int, 1)
	w, stop := start(t, reg, conf, app.Options{Purge: func(n int) { purged <- n }})
	if n := <-purged; n != 1 {
		t.Errorf("%d messages were dropped, want 1", n)
	}
	if w.Broker() != "memory://in-memory" || w.ResultBackend() != "cache+memory://in-memory" {
		t.Errorf("broker %s, results %s", w.Broker(), w.ResultBackend())
	}
	if sum, err := client.Call[int](t.Context(), shop.Client, "proj.add", 1, 2); err != nil || sum != 3 {
		t.Errorf("%d, %v", sum, err)
	}
	result, err := shop.Send(t.Context(), canvas.Chain(canvas.Sig("proj.add", 1, 2), canvas.Sig("proj.add", 3)))
	if err != nil {
		t.Fatal(err)
	}
	var sum int
	if err := result.Get(t.Context(), &sum); err != nil || sum != 6 {
		t.Errorf("%d, %v", sum, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
