package tasks

import (
	"errors"
	"math/rand/v2"
	"time"
)

// AutoRetryPolicy says which errors of a task lead to a retry by themselves, and when.
type AutoRetryPolicy struct {
	For        func(error) bool // nil: none
	Not        func(error) bool // errors that are left alone even so; nil: none
	Backoff    time.Duration    // factor of the exponential delay; 0: the task's RetryDelay each time
	BackoffMax time.Duration    // default 600 s
	NoJitter   bool             // wait for the whole delay, not a random part of it
}

// AutoRetry retries the task when its handler returns an error that match accepts
// (autoretry_for); nil accepts every error. Outcomes such as Retry, Ignore and Reject
// are not errors here. A panic is one.
func AutoRetry(match func(error) bool) Option {
	if match == nil {
		match = func(error) bool { return true }
	}
	return taskOption(func(o *Options) { o.autoRetry().For = match })
}

// AutoRetryOn is AutoRetry for the errors that errors.Is finds equal to one of these.
func AutoRetryOn(targets ...error) Option {
	return AutoRetry(func(err error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	})
}

// DontAutoRetry exempts errors from AutoRetry (dont_autoretry_for).
func DontAutoRetry(match func(error) bool) Option {
	return taskOption(func(o *Options) { o.autoRetry().Not = match })
}

// RetryBackoff makes automatic retries wait factor × 2^retries, in whole seconds and at
// least one (retry_backoff). Of that, a random part, unless RetryJitter is false. Without AutoRetry or
// AutoRetryOn nothing is retried automatically, and this has no effect.
func RetryBackoff(factor time.Duration) Option {
	return taskOption(func(o *Options) { o.autoRetry().Backoff = factor })
}

// RetryBackoffMax bounds the delay of RetryBackoff. Default 600 s.
func RetryBackoffMax(most time.Duration) Option {
	return taskOption(func(o *Options) { o.autoRetry().BackoffMax = most })
}

// RetryJitter says whether RetryBackoff waits for a random part of its delay. Default true.
func RetryJitter(jitter bool) Option {
	return taskOption(func(o *Options) { o.autoRetry().NoJitter = !jitter })
}

func (o *Options) autoRetry() *AutoRetryPolicy {
	if o.AutoRetry == nil {
		o.AutoRetry = &AutoRetryPolicy{}
	}
	return o.AutoRetry
}

const defaultBackoffMax = 600 * time.Second

// Retry makes the outcome of an error, which stays as it is when the policy does not
// concern it. retries is how many there have been.
func (p *AutoRetryPolicy) Retry(err error, retries int) error {
	switch {
	case p == nil, p.For == nil, IsOutcome(err), endsProcess(err), p.Not != nil && p.Not(err), !p.For(err):
		return err
	case p.Backoff == 0:
		return Retry(err)
	}
	return Retry(err, RetryCountdown(p.delay(retries)))
}

// delay is Celery's get_exponential_backoff_interval (celery/utils/time.py).
func (p *AutoRetryPolicy) delay(retries int) time.Duration {
	most := p.BackoffMax
	if most == 0 {
		most = defaultBackoffMax
	}
	seconds := max(int64(p.Backoff/time.Second), 1)
	limit := int64(most / time.Second)
	for range retries {
		if seconds >= limit {
			break
		}
		seconds *= 2
	}
	seconds = min(seconds, limit)
	if !p.NoJitter {
		seconds = rand.Int64N(seconds + 1) //nolint:gosec // jitter
	}
	return time.Duration(seconds) * time.Second
}
