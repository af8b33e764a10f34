package tasks

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseRateLimit reads a rate limit as Celery's rate_limit (celery/utils/time.py: rate):
// a number of runs per second ("10"), or with a unit, "10/s", "100/m", "5/h". It returns
// runs per second; 0 means no limit.
func ParseRateLimit(limit string) (perSecond float64, err error) {
	if limit == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(limit, "/")
	runs, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(runs) || math.IsInf(runs, 0) {
		return 0, fmt.Errorf("rate limit %q: could not convert string to float: '%s'", limit, number)
	}
	switch unit {
	case "", "s":
	case "m":
		runs /= 60
	case "h":
		runs /= 3600
	default:
		return 0, fmt.Errorf("rate limit %q: the unit must be s, m or h, not %q", limit, unit)
	}
	if runs < 0 {
		return 0, fmt.Errorf("rate limit %q is negative", limit)
	}
	return runs, nil
}

// validate reports every setting that cannot be.
func (o *Options) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.RateLimit != nil {
		if _, err := ParseRateLimit(*o.RateLimit); err != nil {
			errs = append(errs, err)
		}
	}
	if o.RetryDelay != nil && *o.RetryDelay < 0 {
		bad("RetryDelay must not be negative")
	}
	if p := o.AutoRetry; p != nil && (p.Backoff < 0 || p.BackoffMax < 0) {
		bad("RetryBackoff and RetryBackoffMax must not be negative")
	}
	hard, soft := o.TimeLimit, o.SoftTimeLimit
	if hard != nil && *hard < 0 || soft != nil && *soft < 0 {
		bad("time limits must not be negative")
	}
	if hard != nil && soft != nil && *hard > 0 && *soft > *hard {
		bad("SoftTimeLimit must be less than or equal to TimeLimit")
	}
	return errors.Join(errs...)
}
