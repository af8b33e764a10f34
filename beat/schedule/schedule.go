package schedule

import "time"

// Schedule says when a periodic task is due. Schedules do not change and may be used by any number of
// goroutines.
type Schedule interface {
	// Next returns the first time after last at which the task is due, in UTC; zero: there is none.
	Next(last time.Time) time.Time
	// String is the schedule as Celery logs it: <crontab: */5 * * * * (m/h/dM/MY/d)>.
	String() string
}

// NoDeadline is the deadline of crontabs that are due however late.
const NoDeadline time.Duration = -1

// Due tells whether a task is due at now that was last due at last. If so, slot is the time it was due
// at; of several it is the last one. Otherwise slot is zero. next is the first time after slot and now;
// zero: there is none.
//
// A crontab's slot that is longer ago than the deadline is not due any more, as with Celery's
// beat_cron_starting_deadline.
func Due(s Schedule, last, now time.Time, deadline time.Duration) (slot, next time.Time) {
	next = s.Next(last)
	if next.IsZero() || next.After(now) {
		return time.Time{}, next
	}
	slot, next = latest(s, next, now)
	if _, ok := s.(*Crontab); ok && deadline >= 0 && slot.Before(now.Add(-deadline)) {
		slot = time.Time{}
	}
	return slot, next
}

// latest goes from a time that is due to the last one until now, and returns it and the one after it.
func latest(s Schedule, slot, now time.Time) (last, next time.Time) {
	if every, ok := s.(*Every); ok {
		return every.latest(slot, now)
	}
	// Celery's beat may have been down for years: halve what is left, instead of taking each step.
	for until := now; ; {
		next = s.Next(slot)
		if next.IsZero() || next.After(now) {
			return slot, next
		}
		slot = next
		middle := slot.Add(until.Sub(slot) / 2)
		if at := s.Next(middle); at.IsZero() || at.After(now) {
			until = middle
		} else {
			slot = at
		}
	}
}
