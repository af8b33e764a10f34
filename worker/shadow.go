package worker

import (
	"fmt"
	"maps"

	"github.com/apium/apium/tasks"
)

// The Go handler of a task may run as the shadow of the Python task of its name, to see whether it may take that one's place: the
// Python task runs, and is settled, as ever, and then the handler runs on a copy of the same message. What comes of both is
// compared and counted; nothing else ever comes of a shadow. (What Celery calls the shadow of a task is a name for it in logs.)

func (c *Config) validateShadows() (errs []error) {
	for task, share := range c.Shadows {
		err := possible(share)
		if err == nil && c.Registry != nil {
			err = shadowable(c.Registry, task)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: Shadows[%q]", err, task))
		}
	}
	return errs
}

// shadowable tells why a task cannot have a shadow; nil: it can.
func shadowable(reg *tasks.Registry, task string) error {
	entry, known := reg.Lookup(task)
	_, beside := reg.Behind(task)
	var why string
	switch {
	case !known || !entry.InGo():
		why = "it has no handler in Go"
	case entry.Own() != nil:
		why = "its handler has an executor of its own, such as that of batches"
	case !entry.Shadowable():
		why = "its handler would run twice and does not say that it may: if it changes nothing, or leaves that out where " +
			"tasks.Shadowed(ctx) is true, register it with tasks.Shadowable()"
	case !beside:
		why = "no Python task of this name runs in this worker"
	default:
		return nil
	}
	return fmt.Errorf("worker: task %s cannot have a shadow: %s", task, why)
}

// cast notes which share of what Python runs of a task has a shadow. 0 is the same as none.
func (t *taskConfig) cast(share *tasks.Share) {
	if t.rest == nil {
		return
	}
	if share != nil && (*share == 0 || !t.entry.Shadowable() || t.entry.Own() != nil) {
		share = nil
	}
	t.rest.shadow.Store(share)
}

// castsShadow tells whether the shadow of its task is to run when a request has, and remembers it.
func (r *request) castsShadow() bool {
	if share := r.task.shadow.Load(); share != nil {
		r.shadowed = share.Takes(r.ID)
	}
	return r.shadowed
}

// shadowOf is the share of a task's messages that have shadows; nil: nobody has said any.
func (c *taskConfigs) shadowOf(name string) *tasks.Share {
	if set := c.setFor(name); set.shadow != nil {
		return set.shadow
	}
	if share, ok := c.shadows[name]; ok {
		return &share
	}
	return nil
}

// allShadows are the shares that hold.
func (c *taskConfigs) allShadows() map[string]tasks.Share {
	all := map[string]tasks.Share{}
	maps.Copy(all, c.shadows)
	c.overrule(all, func(set operatorLimits) *tasks.Share { return set.shadow })
	return all
}

// setShadow changes which share of a task's messages have shadows.
func (c *taskConfigs) setShadow(name string, share tasks.Share) bool {
	t := c.noted(name, func(set *operatorLimits) { set.shadow = &share })
	if t == nil {
		return false
	}
	t.cast(&share)
	t.dial(c.shareOf(name)) // nothing, unless somebody has said otherwise
	return true
}

// SetShadow changes of which share of a task's messages its Go handler runs a copy (see [Config.Shadows]), until the worker ends.
// The rest of the task's messages are left to Python, too, unless a share of them (see [Config.Shares]) has been named.
func (o *Operations) SetShadow(task string, share tasks.Share) error {
	err := possible(share)
	if err == nil && o.tasks.of(task) == nil {
		err = fmt.Errorf("%w: %s", ErrUnknownTask, task)
	}
	if err == nil {
		err = shadowable(o.tasks.registered, task)
	}
	if err == nil {
		o.tasks.setShadow(task, share)
	}
	return err
}
