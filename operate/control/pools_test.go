package control_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// children is an executor that only tells of itself.
type children struct{ info worker.ExecutorInfo }

func (*children) Start(context.Context) error                                     { return nil }
func (*children) NewSlot() worker.Slot                                            { return child{} }
func (*children) Prepare(*worker.Run) error                                       { return nil }
func (*children) Restart(context.Context, ...string) error                        { return nil }
func (*children) Close(context.Context) error                                     { return nil }
func (c *children) Info() worker.ExecutorInfo                                     { return c.info }
func (*children) Call(context.Context, *tasks.Entry, *tasks.Request) (any, error) { return nil, nil }

type child struct{}

func (child) Ready(context.Context) bool                      { return true }
func (child) Run(context.Context, *worker.Run) worker.Outcome { return worker.NotBegun }
func (child) Stop(*worker.Run, worker.Stop) time.Duration     { return 0 }
func (child) Trace() string                                   { return "" }
func (child) Close()                                          {}

// busy is a child in which a task runs until it is let go.
type busy struct {
	child
	letGo chan struct{}
}

func (b busy) Run(ctx context.Context, run *worker.Run) worker.Outcome {
	run.Begin(ctx, 17)
	<-b.letGo
	return worker.Outcome{}
}

type busyChildren struct {
	children
	letGo chan struct{}
}

func (c *busyChildren) NewSlot() worker.Slot { return busy{letGo: c.letGo} }

// A task of a pool of threads cannot be terminated: whoever tries is told what Celery says.
func TestTerminateInThreads(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		threads := &busyChildren{children{worker.ExecutorInfo{Implementation: "celery.concurrency.thread:TaskPool"}}, make(chan struct{})}
		b.cfg.Executors = map[string]worker.ExecutorConfig{
			"python": {Executor: threads, Concurrency: 1, Restraints: worker.Restraints{NoTerminate: true}},
		}
		b.reg.RegisterFor("python", "py.long")
		b.start()
		id := b.send(call{Task: "py.long", Stamps: map[string]any{"tenant": "seven"}})
		const want = `{"error": "NotImplementedError(\"<class 'celery.concurrency.thread.TaskPool'> does not implement kill_job\")"}`
		if got := b.call("revoke", `{"task_id": "`+id+`", "terminate": true}`); got != want {
			t.Errorf("revoke: %s, want %s", got, want)
		}
		if got := b.call("revoke_by_stamped_headers", `{"headers": {"tenant": "seven"}, "terminate": true}`); got != want {
			t.Errorf("revoke_by_stamped_headers: %s, want %s", got, want)
		}
		close(threads.letGo)
	})
}

// What each of Celery's pools tells of itself (Celery 5.7, inspect stats), with Go handlers beside
// it, and whether its size can be changed.
func TestPoolsOfAnExecutor(t *testing.T) {
	for _, tt := range []struct {
		name   string
		info   worker.ExecutorInfo
		config worker.ExecutorConfig
		stats  string
		grow   string
	}{
		{
			"prefork",
			worker.ExecutorInfo{Implementation: "celery.concurrency.prefork:TaskPool", PIDs: []int{17, 18}, MaxTasksPerChild: 100},
			worker.ExecutorConfig{Concurrency: 2},
			`{"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 2, "max-tasks-per-child": 100, "processes": [17, 18], ` +
				`"put-guarded-by-semaphore": false, "timeouts": [0, 10.0], "writes": {"all": "", "avg": "0.00", ` +
				`"inqueues": {"active": 0, "total": 2}, "raw": "", "strategy": "fair", "total": 0}}`,
			`{"ok": "pool will grow"}`,
		},
		{
			"prefork that scales and has no process yet",
			worker.ExecutorInfo{Implementation: "celery.concurrency.prefork:TaskPool"},
			worker.ExecutorConfig{Autoscale: worker.Autoscale{Max: 4, Min: 2}},
			`{"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 2, "max-tasks-per-child": "N/A", "processes": [], ` +
				`"put-guarded-by-semaphore": false, "timeouts": [0, 10.0], "writes": {"all": "", "avg": "0.00", ` +
				`"inqueues": {"active": 0, "total": 2}, "raw": "", "strategy": "fair", "total": 0}}`,
			`{"error": "pool_grow is not supported with autoscale. Adjust autoscale range instead."}`,
		},
		{
			"solo",
			worker.ExecutorInfo{Implementation: "celery.concurrency.solo:TaskPool", PIDs: []int{17}},
			worker.ExecutorConfig{Concurrency: 1},
			`{"implementation": "celery.concurrency.solo:TaskPool", "max-concurrency": 1, "max-tasks-per-child": null, "processes": [17], ` +
				`"put-guarded-by-semaphore": true, "timeouts": []}`,
			`{"error": "AttributeError(\"'TaskPool' object has no attribute 'grow'\")"}`,
		},
		{
			"threads",
			worker.ExecutorInfo{Implementation: "celery.concurrency.thread:TaskPool", PIDs: []int{17}},
			worker.ExecutorConfig{Concurrency: 3},
			`{"implementation": "celery.concurrency.thread:TaskPool", "max-concurrency": 3, "threads": 3}`,
			`{"error": "AttributeError(\"'TaskPool' object has no attribute 'grow'\")"}`,
		},
		{
			"gevent",
			worker.ExecutorInfo{Implementation: "celery.concurrency.gevent:TaskPool", PIDs: []int{17}},
			worker.ExecutorConfig{Concurrency: 3},
			`{"implementation": "celery.concurrency.gevent:TaskPool", "max-concurrency": 3}`, `{"ok": "pool will grow"}`,
		},
		{
			"eventlet",
			worker.ExecutorInfo{Implementation: "celery.concurrency.eventlet:TaskPool", PIDs: []int{17}},
			worker.ExecutorConfig{Concurrency: 3},
			`{"free-threads": 3, "implementation": "celery.concurrency.eventlet:TaskPool", "max-concurrency": 3, "running-threads": 0}`,
			`{"ok": "pool will grow"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				tt.config.Executor = &children{tt.info}
				limit := 10 * time.Second
				b.cfg.Executors, b.cfg.Pool = map[string]worker.ExecutorConfig{"python": tt.config}, "python"
				b.cfg.Defaults.TimeLimit = &limit
				b.start()
				stats := get[struct {
					Pool   json.RawMessage
					Others map[string]map[string]any `json:"other_pools"`
				}](b, "stats", "")
				if string(stats.Pool) != tt.stats {
					t.Errorf("pool: %s\nwant: %s", stats.Pool, tt.stats)
				}
				if g := stats.Others["go"]; len(stats.Others) != 1 || g["max-concurrency"] != int64(2) || g["implementation"] != "apium.worker:goroutines" || g["prefetch_count"] != int64(8) {
					t.Errorf("other pools: %v", stats.Others)
				}
				before := b.w.Concurrency()
				if got := b.call("pool_grow", `{"n": 2}`); got != tt.grow {
					t.Errorf("pool_grow: %s, want %s", got, tt.grow)
				}
				grown := before
				if tt.grow == `{"ok": "pool will grow"}` {
					grown += 2
				}
				if e := b.w.Operations().Executors(); e[0].Slots != 2 || e[1].Slots != grown || b.w.Concurrency() != grown {
					t.Errorf("%d Go slots and %d others, want 2 and %d", e[0].Slots, e[1].Slots, grown)
				}
				if got := b.call("autoscale", `{"max": 6}`); tt.config.Autoscale.Max > 0 && got != `{"ok": "autoscale now max=6 min=2"}` {
					t.Errorf("autoscale: %s", got)
				}
			})
		})
	}
}
