package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// hooks calls what the registry's users have connected. A panic in a hook is logged.
type hooks struct {
	connected []tasks.Hooks
	contexts  bool // some make contexts of runs
	log       taskLog
}

func newHooks(cfg *Config, log taskLog) *hooks {
	connected := slices.Concat(cfg.Registry.Hooks(), cfg.Hooks)
	contexts := slices.ContainsFunc(connected, func(k tasks.Hooks) bool { return k.TaskContext != nil })
	return &hooks{connected: connected, contexts: contexts, log: log}
}

// each gives every set of hooks to call, which calls the one it is about, if there is one.
func (h *hooks) each(name string, call func(*tasks.Hooks)) {
	for i := range h.connected {
		h.protect(name, func() { call(&h.connected[i]) })
	}
}

func (h *hooks) protect(name string, call func()) {
	defer func() {
		if value := recover(); value != nil {
			problem := "A " + name + " hook panicked: " + logline.Escape(fmt.Sprint(value)) + "\n" + string(debug.Stack())
			h.log.Error(problem, logline.LinesKey, true, logline.EventKey, "A hook panicked", "problem", problem)
		}
	}()
	call()
}

func (h *hooks) workerInit(hostname string) {
	h.each("WorkerInit", func(k *tasks.Hooks) {
		if k.WorkerInit != nil {
			k.WorkerInit(hostname)
		}
	})
}

func (h *hooks) workerProcessInit(hostname string) {
	h.each("WorkerProcessInit", func(k *tasks.Hooks) {
		if k.WorkerProcessInit != nil {
			k.WorkerProcessInit(hostname)
		}
	})
}

func (h *hooks) workerReady(hostname string) {
	h.each("WorkerReady", func(k *tasks.Hooks) {
		if k.WorkerReady != nil {
			k.WorkerReady(hostname)
		}
	})
}

func (h *hooks) workerShuttingDown(hostname, how string) {
	h.each("WorkerShuttingDown", func(k *tasks.Hooks) {
		if k.WorkerShuttingDown != nil {
			k.WorkerShuttingDown(hostname, how)
		}
	})
}

func (h *hooks) workerShutdown(hostname string) {
	h.each("WorkerShutdown", func(k *tasks.Hooks) {
		if k.WorkerShutdown != nil {
			k.WorkerShutdown(hostname)
		}
	})
}

func (h *hooks) taskReceived(r *request) {
	h.each("TaskReceived", func(k *tasks.Hooks) {
		if k.TaskReceived != nil {
			k.TaskReceived(&r.Request)
		}
	})
}

// taskContext makes the context of a run.
func (h *hooks) taskContext(ctx context.Context, r *request) context.Context {
	made := ctx
	h.each("TaskContext", func(k *tasks.Hooks) {
		if k.TaskContext != nil {
			made = k.TaskContext(made, &r.Request) //nolint:fatcontext // each adds to what the one before it has made
		}
	})
	return made
}

func (h *hooks) taskPrerun(ctx context.Context, r *request) {
	h.each("TaskPrerun", func(k *tasks.Hooks) {
		if k.TaskPrerun != nil {
			k.TaskPrerun(ctx, &r.Request)
		}
	})
}

func (h *hooks) taskPostrun(ctx context.Context, r *request, state protocol.State, result []byte) {
	h.each("TaskPostrun", func(k *tasks.Hooks) {
		if k.TaskPostrun != nil {
			k.TaskPostrun(ctx, &r.Request, state, result)
		}
	})
}

func (h *hooks) taskSuccess(ctx context.Context, r *request, result []byte) {
	h.each("TaskSuccess", func(k *tasks.Hooks) {
		if k.TaskSuccess != nil {
			k.TaskSuccess(ctx, &r.Request, result)
		}
	})
}

func (h *hooks) taskFailure(ctx context.Context, r *request, exc *protocol.Exception) {
	h.each("TaskFailure", func(k *tasks.Hooks) {
		if k.TaskFailure != nil {
			k.TaskFailure(ctx, &r.Request, exc)
		}
	})
}

func (h *hooks) taskRetry(ctx context.Context, r *request, reason *tasks.RetryError) {
	h.each("TaskRetry", func(k *tasks.Hooks) {
		if k.TaskRetry != nil {
			k.TaskRetry(ctx, &r.Request, reason)
		}
	})
}

func (h *hooks) taskRevoked(ctx context.Context, r *request, terminated, expired bool) {
	h.each("TaskRevoked", func(k *tasks.Hooks) {
		if k.TaskRevoked != nil {
			k.TaskRevoked(ctx, &r.Request, terminated, expired)
		}
	})
}

func (h *hooks) taskRejected(raw []byte, err error) {
	h.each("TaskRejected", func(k *tasks.Hooks) {
		if k.TaskRejected != nil {
			k.TaskRejected(raw, err)
		}
	})
}

func (h *hooks) taskUnknown(r *request) {
	h.each("TaskUnknown", func(k *tasks.Hooks) {
		if k.TaskUnknown != nil {
			k.TaskUnknown(r.content.Text(), r.Name, r.ID)
		}
	})
}

func (h *hooks) beforePublish(ctx context.Context, task *protocol.Task) {
	h.each("BeforePublish", func(k *tasks.Hooks) {
		if k.BeforePublish != nil || k.AfterPublish != nil {
			task.FillIn()
		}
		if k.BeforePublish != nil {
			k.BeforePublish(ctx, task)
		}
	})
}

func (h *hooks) afterPublish(ctx context.Context, task *protocol.Task) {
	h.each("AfterPublish", func(k *tasks.Hooks) {
		if k.AfterPublish != nil {
			k.AfterPublish(ctx, task)
		}
	})
}
