package broker

import "time"

// RetryPolicy says how publishing is tried again when it fails: Celery's retry_policy.
type RetryPolicy struct {
	MaxRetries    int           // negative: no limit, Python's None
	IntervalStart time.Duration // before the first retry
	IntervalStep  time.Duration // added with each further one
	IntervalMax   time.Duration // the longest wait
}

// DefaultRetryPolicy is Celery's task_publish_retry_policy: three times, after 0, 0.2 and 0.4
// seconds.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{MaxRetries: 3, IntervalStep: 200 * time.Millisecond, IntervalMax: time.Second}
}
