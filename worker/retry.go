package worker

import (
	"fmt"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// retry publishes the task again (celery/app/task.py: Task.retry), or fails it when it
// has had its retries.
func (w *Worker) retry(r *request, retry *tasks.RetryError, runtime time.Duration) settlement {
	again, err := w.retryTask(r, retry, time.Now())
	if err != nil {
		return w.failure(r, tasks.ExceptionOf(fmt.Errorf("retry: %w", err)), runtime)
	}
	if most := value(retry.MaxRetries, r.task.maxRetries); most >= 0 && again.Retries > most {
		return w.retriesExceeded(r, retry, again, runtime)
	}
	var cause *protocol.Exception
	what := recordOf{state: protocol.Retry, traceback: r.retryTraceback(retry)}
	if retry.Cause != nil {
		cause = tasks.ExceptionOf(retry.Cause)
		what.result = cause.Append(nil)
	}
	s := settlement{
		req: r, fate: r.ackAfter(),
		end: &outcome{kind: Retried, exception: cause, traceback: what.traceback, runtime: runtime},
	}
	if err := w.publishLater(&s, again); err != nil {
		return w.failure(r, tasks.ExceptionOf(fmt.Errorf("retry: %w", err)), runtime)
	}
	if r.task.trail {
		r.publishedChild(protocol.ResultTuple(r.ID))
	}
	s.record = w.record(r, what, r.storeErrors)
	w.logRetry(r, retry)
	w.hooks.taskRetry(r, retry)
	return s
}

// retriesExceeded fails a task with its cause, or with MaxRetriesExceededError.
func (w *Worker) retriesExceeded(r *request, retry *tasks.RetryError, again *protocol.Task, runtime time.Duration) settlement {
	cause := retry.Cause
	exc := newException("celery.exceptions", "MaxRetriesExceededError", fmt.Sprintf("Can't retry %s[%s] args:%s kwargs:%s",
		r.Name, r.ID, protocol.Repr(again.Args), protocol.Repr(again.Kwargs)))
	exc.Traceback = "Traceback (most recent call last):\n" + exc.Error() + "\n"
	if cause != nil {
		exc = tasks.ExceptionOf(cause)
	}
	s := w.failure(r, exc, runtime)
	w.logFailed(r, cause, exc)
	return s
}

// retryTask is the message of the next attempt: what came in, with what the retry changes.
func (w *Worker) retryTask(r *request, retry *tasks.RetryError, now time.Time) (*protocol.Task, error) {
	again := *r.Task
	again.Retries++
	again.ParentID = orElse(r.ParentID, r.ID) // it is published from inside this task
	again.RootID = orElse(r.RootID, r.ID)
	ignore := value(r.IgnoreResult, r.task.ignoreResult)
	again.IgnoreResult = &ignore
	again.ETA = retry.ETA
	if wait := r.retryWait(retry); wait > 0 {
		again.ETA = now.Add(wait)
	}
	if retry.Priority != nil {
		again.Priority = *retry.Priority
	}
	if retry.Expires != nil {
		again.Expires = *retry.Expires
	}
	again.TimeLimit = value(retry.TimeLimit, r.TimeLimit)
	again.SoftTimeLimit = value(retry.SoftTimeLimit, r.SoftTimeLimit)
	if queue := retry.Queue; queue != "" {
		again.Exchange, again.RoutingKey = "", queue
	}
	again.RoutingKey = orElse(again.RoutingKey, r.Queue)
	return &again, r.newArguments(&again, retry)
}

// retryWait is the countdown of a retry; 0 when it is due at once or at an ETA.
func (r *request) retryWait(retry *tasks.RetryError) time.Duration {
	switch {
	case retry.Countdown != nil:
		return *retry.Countdown
	case !retry.ETA.IsZero():
		return 0
	}
	return r.task.retryDelay
}

// newArguments replaces the arguments that the retry gives anew.
func (r *request) newArguments(again *protocol.Task, retry *tasks.RetryError) error {
	if !retry.NewArgs && !retry.NewKwargs {
		return nil
	}
	again.ArgsRepr, again.KwargsRepr = "", ""
	var err error
	if retry.NewArgs {
		if again.Args, err = pyjson.Append(nil, append([]any{}, retry.Args...)); err != nil {
			return fmt.Errorf("arguments: %w", err)
		}
	}
	if retry.NewKwargs {
		kwargs := retry.Kwargs
		if kwargs == nil {
			kwargs = map[string]any{}
		}
		if again.Kwargs, err = pyjson.Append(nil, kwargs); err != nil {
			return fmt.Errorf("keyword arguments: %w", err)
		}
	}
	return nil
}

// retryReason is str() of Celery's Retry: "Retry in 180s: ValueError('bad')".
func (r *request) retryReason(retry *tasks.RetryError) string {
	when := "in " + pythonNumber(r.retryWait(retry)) + "s"
	if retry.Countdown == nil && !retry.ETA.IsZero() {
		when = "at " + protocol.FormatTime(retry.ETA)
	}
	if retry.Cause == nil {
		return "Retry " + when
	}
	return "Retry " + when + ": " + tasks.ExceptionOf(retry.Cause).Repr()
}

// retryTraceback is what Python prints for a Retry that was raised in a task.
func (r *request) retryTraceback(retry *tasks.RetryError) string {
	text := "Traceback (most recent call last):\n"
	if retry.Cause != nil {
		text = tasks.ExceptionOf(retry.Cause).Traceback
		if text != "" {
			text += "\nDuring handling of the above exception, another exception occurred:\n\n"
		}
	}
	return text + "celery.exceptions.Retry: " + r.retryReason(retry) + "\n"
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
