package tasks

import (
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
