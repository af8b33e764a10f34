package worker

import (
	"fmt"
	"maps"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// A task that has a handler in Go may be run there in part only, to see how that does: a share of its messages, by
// their tasks' ids, so that each is decided about once and for all. The others are left to the executor of this
// worker that has a task of that name, too, or else to other workers, as tasks are that are not registered here.

func (c *Config) validateShares() (errs []error) {
	for task, share := range c.Shares {
		if err := possible(share); err != nil {
			errs = append(errs, fmt.Errorf("%w: Shares[%q]", err, task))
		}
	}
	return errs
}

func possible(share tasks.Share) error {
	if share < 0 || share > tasks.WholeShare {
		return fmt.Errorf("worker: %s is not from 0%% to 100%%", share)
	}
	return nil
}

// forMessage returns what is to run the message of a task; nil: nothing here. left tells that this is so because
// other workers are to have it.
func (c *taskConfigs) forMessage(task *protocol.Task) (t *taskConfig, left bool) {
	t = c.of(task.Name)
	if t == nil {
		return nil, false
	}
	share := t.share.Load()
	if share == nil || share.Takes(task.ID) {
		return t, false
	}
	return t.rest, t.rest == nil
}

// setShare changes which share of a task's messages is taken; false: there is no such task.
func (c *taskConfigs) setShare(name string, share tasks.Share) bool {
	t := c.noted(name, func(set *operatorLimits) { set.share = &share })
	if t == nil {
		return false
	}
	t.dial(&share)
	return true
}

// dial notes the share for a task, whoever runs it.
func (t *taskConfig) dial(share *tasks.Share) {
	t.share.Store(share)
	if t.rest != nil {
		t.rest.share.Store(share)
	}
}

// shareOf is the share that holds for a task; nil: nobody has said any. That of one with shadows is then nothing.
func (c *taskConfigs) shareOf(name string) *tasks.Share {
	if set := c.setFor(name); set.share != nil {
		return set.share
	}
	if share, ok := c.shares[name]; ok {
		return &share
	}
	if c.shadowOf(name) != nil {
		return new(tasks.Share)
	}
	return nil
}

// allShares are the shares that hold.
func (c *taskConfigs) allShares() map[string]tasks.Share {
	all := map[string]tasks.Share{}
	for name := range c.allShadows() {
		all[name] = 0
	}
	maps.Copy(all, c.shares)
	c.overrule(all, func(set operatorLimits) *tasks.Share { return set.share })
	return all
}

// overrule puts what operators have set in the place of what settings say.
func (c *taskConfigs) overrule(all map[string]tasks.Share, of func(operatorLimits) *tasks.Share) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, set := range c.set {
		if share := of(set); share != nil {
			all[name] = *share
		}
	}
}

// SetShare changes which share of a task's messages this worker takes (see [Config.Shares]), until the worker ends.
// What has come already runs as it would have.
func (o *Operations) SetShare(task string, share tasks.Share) error {
	if err := possible(share); err != nil {
		return err
	}
	if !o.tasks.setShare(task, share) {
		return fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	return nil
}

// Shares returns the shares of tasks that settings or operators have named.
func (w *Worker) Shares() map[string]tasks.Share { return w.tasks.allShares() }

// Beside returns the name of this worker's executor that runs what is no part of the shares of a task; false: other
// workers do.
func (o *Operations) Beside(task string) (executor string, ok bool) {
	if t := o.tasks.of(task); t != nil && t.rest != nil {
		return t.rest.pool.name, true
	}
	return "", false
}
