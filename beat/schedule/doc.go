// Package schedule is the calendar of periodic tasks: Celery's intervals, crontabs, solar events and
// clocked times. It does no I/O and has no clock of its own: whoever asks says what time it is.
//
// It answers as Celery 5.7 does, with these exceptions:
//
//   - An interval is due on a grid, not an interval after the last sending, so it does not drift.
//   - A crontab that is due in every hour is also due while an hour is repeated in autumn; one that names
//     hours is due in the first pass only. (Celery's is silent, or due again and again.)
//   - What was missed is due once, at the last of the times that were missed.
package schedule
