package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/tasks"
)

func (m *Mailbox) poolGrow(n int, _ others) (any, error)   { return m.resize("grow", n) }
func (m *Mailbox) poolShrink(n int, _ others) (any, error) { return m.resize("shrink", -n) }

// resize changes how many tasks run at the same time.
func (m *Mailbox) resize(what string, by int) (any, error) {
	if _, scales := m.w.Operations().Autoscale(); scales {
		return failed("pool_" + what + " is not supported with autoscale. Adjust autoscale range instead."), nil
	}
	for _, e := range m.w.Operations().Executors() {
		if module := moduleOf(&e); e.Pool && (module == solo || module == threads) {
			return nil, tasks.Raise("AttributeError", "'TaskPool' object has no attribute '"+what+"'")
		}
	}
	size := m.w.Concurrency() + by
	if size < 1 {
		return nil, tasks.Raise("ValueError", "Can't shrink pool. All processes busy!")
	}
	if err := m.tooMany(size); err != nil {
		return nil, err
	}
	if err := m.w.Operations().Resize(size); err != nil {
		return nil, err
	}
	return succeeded("pool will " + what), nil
}

// tooMany refuses a size of the pool that is beyond reason. What is configured is not.
func (m *Mailbox) tooMany(size int) error {
	if size <= m.cfg.MaxConcurrency || size <= m.w.Concurrency() {
		return nil
	}
	return tasks.Raise("ValueError", fmt.Sprintf("a pool of %d is too large: apium_max_concurrency is %d", size, m.cfg.MaxConcurrency))
}

const poolRestart = "pool_restart"

// poolRestart is for Python code that has changed. Where worker_pool_restarts allows it,
// executors restart, and Go handlers stay as they are, as those of a pool of threads in Celery do.
// Code is always loaded anew, whether reload says so or not, and modules besides. The answer
// comes when what begins runs the new code.
func (m *Mailbox) poolRestart(ctx context.Context, modules []string, _, _ any, _ others) (any, error) {
	if allowed, _ := m.settings(true)["worker_pool_restarts"].(bool); !allowed {
		return nil, tasks.Raise("ValueError", "Pool restarts not enabled")
	}
	if err := m.w.Operations().Restart(ctx, modules...); err != nil {
		return nil, err
	}
	return succeeded("reload started"), nil
}

func (m *Mailbox) autoscale(most, least *int) (any, error) {
	for _, bound := range []*int{most, least} {
		if bound == nil {
			continue
		}
		if err := m.tooMany(*bound); err != nil {
			return nil, err
		}
	}
	state, scales := m.w.Operations().SetAutoscale(most, least)
	if !scales {
		return nil, tasks.Raise("ValueError", "Autoscale not enabled")
	}
	return succeeded(fmt.Sprintf("autoscale now max=%d min=%d", state.Max, state.Min)), nil
}

// shutdown begins a warm shutdown. Celery's worker gives no reply to it either.
func (m *Mailbox) shutdown(msg string, _ others) error {
	if m.cfg.Shutdown == nil {
		return errors.New("this worker cannot be shut down from remote")
	}
	m.log.Warn(msg, logline.EventKey, "Shutdown by remote control", "text", msg)
	m.cfg.Shutdown()
	return errNoReply
}
