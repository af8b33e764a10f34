package worker

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// retry publishes the task again (celery/app/task.py: Task.retry), or fails it when it
// has had its retries.
func (o *outcomes) retry(r *request, retry *tasks.RetryError, runtime time.Duration, remarks ...remark) settlement {
	now := o.now()
	again, err := o.retryTask(r, retry, now)
	if err != nil {
		return o.cannotRetry(r, err, runtime)
	}
	if most := value(retry.MaxRetries, r.task.maxRetries); most >= 0 && again.Retries > most {
		return o.retriesExceeded(r, retry, again, runtime)
	}
	if err := r.task.entry.Check(again.Args, again.Kwargs); err != nil {
		return o.cannotRetry(r, err, runtime)
	}
	var cause *protocol.Exception
	if retry.Cause != nil {
		cause = tasks.ExceptionOf(retry.Cause)
	}
	reason := r.retryReason(retry, cause)
	what := recordOf{state: protocol.Retry, traceback: retryTraceback(cause, reason)}
	if cause != nil {
		what.result = cause.Append(nil)
	}
	told := *retry
	told.Reason = reason
	s := settlement{
		req: r, fate: r.ackAfter(),
		end: &outcome{kind: Retried, exception: cause, traceback: what.traceback, runtime: runtime, retry: &told, remarks: append(remarks, remark{kind: retried, text: reason})},
	}
	if err := o.publishAgain(&s, again, now); err != nil {
		return o.cannotRetry(r, err, runtime)
	}
	if r.task.trail {
		r.publishedChild(protocol.ResultTuple(r.ID))
	}
	s.record = o.record(r, what, r.storeErrors)
	return s
}

// publishAgain adds the message of a retry to a settlement. Celery 5.7 leaves the origin
// among the properties, too.
func (o *outcomes) publishAgain(s *settlement, again *protocol.Task, now time.Time) error {
	origin := pyjson.AppendString([]byte(`{"origin": `), again.Origin)
	if again.Origin == "" {
		origin, again.Origin = []byte(`{"origin": null`), o.maker.Environment().Origin
	}
	p := protocol.Publication{Format: o.maker.Format(), Properties: append(origin, '}')}
	if !again.Expires.IsZero() {
		p.Expiration = max(again.Expires.Sub(now), 1) // 0 would leave the property out
	}
	if !o.publishes {
		return errNoPublisher
	}
	message, err := o.maker.Make(o.context(s.req), again, p)
	if err != nil {
		return err
	}
	if !again.ETA.IsZero() {
		message.Delay = again.ETA.Sub(now)
	}
	s.with().Messages = append(s.with().Messages, message)
	return nil
}

// deathHeaders are what RabbitMQ adds to dead letters and to what was redelivered; a retry is neither.
var deathHeaders = []string{
	"x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
	"x-last-death-exchange", "x-last-death-queue", "x-last-death-reason",
	"x-delivery-count",
}

// withoutDeaths returns headers without deathHeaders.
func withoutDeaths(headers []byte) []byte {
	if !bytes.Contains(headers, []byte(`"x-`)) {
		return headers
	}
	left := []byte{'{'}
	for name, value := range pyjson.Members(headers) {
		if !slices.Contains(deathHeaders, name) {
			left = append(pyjson.AppendKey(left, name), value...)
		}
	}
	return append(left, '}')
}

// cannotRetry rejects the message of a task whose retry cannot be published.
func (o *outcomes) cannotRetry(r *request, err error, runtime time.Duration) settlement {
	return o.reject(r, false, tasks.ExceptionOf(err).Repr(), err.Error(), runtime)
}

// retriesExceeded fails a task with its cause, or with MaxRetriesExceededError.
func (o *outcomes) retriesExceeded(r *request, retry *tasks.RetryError, again *protocol.Task, runtime time.Duration) settlement {
	if retry.Cause != nil {
		return o.fail(r, retry.Cause, runtime)
	}
	return o.fail(r, r.tooManyRetries(again), runtime)
}

// tooManyRetries is the exception of a task that would be sent again and may not.
func (r *request) tooManyRetries(again *protocol.Task) *protocol.Exception {
	exc := newException("celery.exceptions", "MaxRetriesExceededError", fmt.Sprintf("Can't retry %s[%s] args:%s kwargs:%s",
		r.Name, r.ID, protocol.ReprTuple(again.Args), protocol.Repr(again.Kwargs)))
	exc.Traceback = "Traceback (most recent call last):\n" + exc.Error() + "\n"
	return exc
}

// retryTask is the message of the next attempt: what came in, with what the retry changes.
func (o *outcomes) retryTask(r *request, retry *tasks.RetryError, now time.Time) (*protocol.Task, error) {
	again := *r.Task
	again.Retries++
	again.ArgsRepr, again.KwargsRepr = "", "" // they are made anew
	again.Headers = withoutDeaths(r.Headers)
	var cause *protocol.Exception
	if !errors.As(retry.Cause, &cause) || !isLost(cause) { // then nothing publishes it from inside this task
		again.ParentID = cmp.Or(r.ParentID, r.ID)
	}
	again.RootID = cmp.Or(r.RootID, r.ID)
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
	again.RoutingKey = cmp.Or(again.RoutingKey, r.Queue)
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
	var args, kwargs []byte
	var err error
	if retry.NewArgs {
		if args, err = pyjson.Append(nil, append([]any{}, retry.Args...)); err != nil {
			return fmt.Errorf("arguments: %w", err)
		}
	}
	if retry.NewKwargs {
		if kwargs, err = pyjson.Append(nil, retry.Kwargs); retry.Kwargs == nil {
			kwargs = []byte("{}")
		} else if err != nil {
			return fmt.Errorf("keyword arguments: %w", err)
		}
	}
	again.Args, again.Kwargs = r.task.entry.Rebind(r.Args, r.Kwargs, args, kwargs)
	return nil
}

// retryReason is str() of Celery's Retry: "Retry in 180s: ValueError('bad')".
func (r *request) retryReason(retry *tasks.RetryError, cause *protocol.Exception) string {
	when := "in " + pythonNumber(r.retryWait(retry)) + "s"
	if retry.Countdown == nil && !retry.ETA.IsZero() {
		when = "at " + strings.Replace(protocol.FormatTime(retry.ETA), "T", " ", 1) // str() of a datetime
	}
	if cause == nil {
		return "Retry " + when
	}
	return "Retry " + when + ": " + cause.Repr()
}

// retryTraceback is what Python prints for a Retry that was raised in a task.
func retryTraceback(cause *protocol.Exception, reason string) string {
	text := "Traceback (most recent call last):\n"
	if cause != nil {
		text = cause.Traceback
		if text != "" {
			text += "\nDuring handling of the above exception, another exception occurred:\n\n"
		}
	}
	return text + "celery.exceptions.Retry: " + reason + "\n"
}
