package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/tasks"
)

func (m *Mailbox) poolGrow(n int, _ others) (any, error) {
	if _, scales := m.w.Operations().Autoscale(); scales {
		return failed("pool_grow is not supported with autoscale. Adjust autoscale range instead."), nil
	}
	if err := m.resize(n); err != nil {
		return nil, err
	}
	return succeeded("pool will grow"), nil
}

func (m *Mailbox) poolShrink(n int, _ others) (any, error) {
	if _, scales := m.w.Operations().Autoscale(); scales {
		return failed("pool_shrink is not supported with autoscale. Adjust autoscale range instead."), nil
	}
	if err := m.resize(-n); err != nil {
		return nil, err
	}
	return succeeded("pool will shrink"), nil
}

func (m *Mailbox) resize(by int) error {
	size := m.w.Concurrency() + by
	if size < 1 {
		return tasks.Raise("ValueError", "Can't shrink pool. All processes busy!")
	}
	return m.w.Operations().Resize(size)
}

// poolRestart is for Python code that has changed. Where worker_pool_restarts allows it,
// Go handlers stay as they are, as those of a pool of threads in Celery do.
func (m *Mailbox) poolRestart(ctx context.Context, _, _, _ any, _ others) (any, error) {
	if allowed, _ := m.settings(true)["worker_pool_restarts"].(bool); !allowed {
		return nil, tasks.Raise("ValueError", "Pool restarts not enabled")
	}
	if err := m.w.Operations().Restart(ctx); err != nil {
		return nil, err
	}
	return succeeded("reload started"), nil
}

func (m *Mailbox) autoscale(most, least *int) (any, error) {
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
