package schedule

import (
	"fmt"
	"time"
)

// At is due once, at a certain time: the clocked schedule of django-celery-beat.
type At struct{ at time.Time }

// NewAt returns the schedule that is due at a certain time, which counts in microseconds.
func NewAt(at time.Time) *At { return &At{at.UTC().Truncate(time.Microsecond)} }

// Next implements [Schedule].
func (a *At) Next(last time.Time) time.Time {
	if last.Before(a.at) {
		return a.at
	}
	return time.Time{}
}

// String implements [Schedule].
func (a *At) String() string {
	layout := "2006-01-02 15:04:05"
	if a.at.Nanosecond() != 0 {
		layout += ".000000"
	}
	return fmt.Sprintf("<clocked: %s>", a.at.Format(layout+"-07:00"))
}
