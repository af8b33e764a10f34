//go:build unix

package python

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// rig is an app of fake processes, and a worker that runs its tasks.
type rig struct {
	t       *testing.T
	folder  string
	log     *logBuffer
	app     *App
	broker  membroker.Broker
	results *membackend.Backend
	worker  *worker.Worker
	stop    func()        // the worker
	claim   time.Duration // for ClaimChords
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, folder: t.TempDir(), log: &logBuffer{}, results: membackend.New()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.log)
		}
	})
	return r
}

// tell writes a file that says how the processes behave.
func (r *rig) tell(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.folder, name)
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) has(name string) bool {
	_, err := os.Stat(filepath.Join(r.folder, name))
	return err == nil
}

// load loads the app.
func (r *rig) load(ctx context.Context) (*App, error) {
	logger := slog.New(slog.NewTextHandler(r.log, nil))
	app, err := Load(ctx, Options{
		Interpreter: os.Args[0], App: "proj", Hostname: "celery@test", Logger: logger,
		Environ: []string{roleVariable + "=server", folderVariable + "=" + r.folder, "GORACE=atexit_sleep_ms=0"},
	})
	if err == nil {
		r.app = app
		r.t.Cleanup(app.Close)
	}
	return app, err
}

// start loads the app and has a worker run its tasks in n children.
func (r *rig) start(n int) {
	r.t.Helper()
	if _, err := r.load(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.app.ClaimChords(r.claim)
	logger := slog.New(slog.NewTextHandler(r.log, nil))
	reg := tasks.NewRegistry()
	r.app.Register(reg)
	var err error
	r.worker, err = worker.New(worker.Config{
		Registry: reg, Consumer: r.broker.Consumer("celery"), Publisher: r.broker.Publisher(), Store: r.results, Logger: logger,
		Executors: map[string]worker.ExecutorConfig{Executor: r.app.Executor(logger, n, worker.Autoscale{})},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.worker.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				r.t.Error(err)
			}
		case <-time.After(patience):
			r.t.Error("the worker does not end")
		}
	})
	r.t.Cleanup(r.stop)
}

// send sends a task and returns its id.
func (r *rig) send(name string, args ...string) string {
	r.t.Helper()
	task := &protocol.Task{Protocol: 2, Name: name, ID: protocol.NewID(), RoutingKey: "celery", Args: []byte("[" + strings.Join(args, ", ") + "]"), Kwargs: []byte("{}")}
	m, err := protocol.EncodeTask(task, protocol.Publication{})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.broker.Publisher().Publish(context.Background(), broker.Publication{RoutingKey: "celery", Message: m}); err != nil {
		r.t.Fatal(err)
	}
	return task.ID
}

// outcome waits for a task's record: its result, or its exception.
func (r *rig) outcome(id string) string {
	r.t.Helper()
	var outcome string
	r.eventually("task "+id+" has ended", func() bool {
		raw, err := r.results.Load(context.Background(), id)
		if err != nil {
			return false
		}
		record, err := protocol.DecodeResult(raw)
		if err != nil {
			r.t.Fatal(err)
		}
		if exc, err := protocol.DecodeException(record.Result); err == nil {
			outcome = exc.Repr()
		} else {
			outcome = strings.Trim(string(record.Result), `"`)
		}
		return true
	})
	return outcome
}

func (r *rig) runs(name string, args ...string) string {
	r.t.Helper()
	return r.outcome(r.send(name, args...))
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// logs waits for a text in the log.
func (r *rig) logs(text string) {
	r.t.Helper()
	r.eventually("the log has "+text, func() bool { return strings.Contains(r.log.String(), text) })
}

// pids waits until there are n children that are up, and returns their processes.
func (r *rig) pids(n int) (pids []int) {
	r.t.Helper()
	r.eventually("children are up", func() bool {
		pids = r.app.pool.Info().PIDs
		return len(pids) == n
	})
	return pids
}

func (r *rig) kill(pid int) {
	r.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) gone(pids ...int) {
	r.t.Helper()
	for _, pid := range pids {
		r.eventually("a process has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	}
}
