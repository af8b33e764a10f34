package worker

import (
	"fmt"
	"slices"
	"strings"
)

// TaskNames returns the names of the registered tasks in alphabetical order, with those
// of Celery's own tasks if builtins.
func (o *Operations) TaskNames(builtins bool) []string {
	names := o.tasks.registered.Names()
	if builtins {
		for _, name := range o.tasks.builtin.Names() {
			if _, replaced := o.tasks.registered.Lookup(name); !replaced {
				names = append(names, name)
			}
		}
	} else {
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "celery.") })
	}
	slices.Sort(names)
	return names
}

// TaskAttribute returns what Python's str makes of an attribute of a task, by its name in
// Celery; false if the task is not registered, or has no such attribute, or has None.
func (o *Operations) TaskAttribute(task, attribute string) (text string, ok bool) {
	t := o.tasks.of(task)
	if t == nil {
		return "", false
	}
	limits := t.limits.Load()
	switch attribute {
	case "name":
		return task, true
	case "rate_limit":
		text = *t.rateLimit.Load()
	case "max_retries":
		if t.maxRetries >= 0 {
			text = fmt.Sprint(t.maxRetries)
		}
	case "default_retry_delay":
		text = pythonNumber(t.retryDelay)
	case "time_limit":
		if limits.hard > 0 {
			text = pythonNumber(limits.hard)
		}
	case "soft_time_limit":
		if limits.soft > 0 {
			text = pythonNumber(limits.soft)
		}
	case "serializer":
		text = "json"
	case "throws":
		text = "()"
	default:
		if flag, known := t.flag(attribute); known {
			text = pythonBool(flag)
		}
	}
	return text, text != ""
}

// flag returns an attribute that is True or False.
func (t *taskConfig) flag(attribute string) (value, known bool) {
	switch attribute {
	case "acks_late":
		return t.acksLate, true
	case "acks_on_failure":
		return t.acksOnFailure, true
	case "acks_on_timeout":
		return t.acksOnTimeout, true
	case "acks_on_failure_or_timeout":
		return t.acksOnFailure && t.acksOnTimeout, true
	case "reject_on_worker_lost":
		return true, t.rejectOnLost // None where it is not set
	case "ignore_result":
		return t.ignoreResult, true
	case "store_errors_even_if_ignored":
		return t.storeErrors, true
	case "track_started":
		return t.trackStarted, true
	case "send_events":
		return t.sendEvents, true
	case "trail":
		return t.trail, true
	}
	return false, false
}

func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
