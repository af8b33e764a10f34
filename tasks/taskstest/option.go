package taskstest

import (
	"syscall"
	"time"

	"github.com/apium/apium/worker"
)

// Option says how a task is run.
type Option func(*options)

type options struct {
	follow    bool
	configure []func(*worker.Config)
	during    []plan
}

// plan is something that happens while the handler runs.
type plan struct {
	after time.Duration
	do    func(w *worker.Worker, id string)
}

// FollowRetries runs the task again as often as it asks for that, without waiting for the
// countdown, until it has come to something else.
func FollowRetries() Option { return func(o *options) { o.follow = true } }

// Configure changes the configuration of the worker: annotations, say, or the defaults of all
// tasks.
func Configure(change func(*worker.Config)) Option {
	return func(o *options) { o.configure = append(o.configure, change) }
}

// RevokeAfter revokes the task with terminate=True, that long after its handler was called:
// its context is cancelled with tasks.ErrRevoked.
func RevokeAfter(d time.Duration) Option {
	return func(o *options) {
		o.during = append(o.during, plan{d, func(w *worker.Worker, id string) {
			_, _ = w.Operations().Terminate(int(syscall.SIGTERM), id) // Go handlers can be terminated
		}})
	}
}

// ShutdownAfter shuts the worker down cold, that long after the handler was called: its context
// is cancelled with tasks.ErrShutdown.
func ShutdownAfter(d time.Duration) Option {
	return func(o *options) {
		o.during = append(o.during, plan{d, func(w *worker.Worker, _ string) { w.AbortNow() }})
	}
}
