package schedule

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Every is due at regular intervals: on the grid of the time it was last due at.
type Every struct {
	interval time.Duration
	relative bool
	zone     *time.Location
}

// NewEvery returns the schedule with an interval, which counts in microseconds and must not be
// shorter than one.
func NewEvery(interval time.Duration) (*Every, error) {
	if interval = interval.Round(time.Microsecond); interval <= 0 {
		return nil, errors.New("an interval must be longer than 0 seconds")
	}
	return &Every{interval: interval, zone: time.UTC}, nil
}

// NewRelative returns a schedule whose times are rounded down to days, hours, minutes or seconds, as many
// as go into the interval, on the clock of a zone: every 2 hours at full hours, say. zone nil is UTC.
func NewRelative(interval time.Duration, zone *time.Location) (*Every, error) {
	e, err := NewEvery(interval)
	if err != nil {
		return nil, err
	}
	e.relative = true
	if zone != nil {
		e.zone = zone
	}
	return e, nil
}

// rounds tells whether times are rounded, which Celery does badly below a second.
func (e *Every) rounds() bool { return e.relative && e.interval >= time.Second }

// Next implements [Schedule].
func (e *Every) Next(last time.Time) time.Time {
	if e.rounds() {
		return e.nextRounded(last)
	}
	return last.Add(e.interval).UTC()
}

// latest is [latest]: the grid is known, so nothing is searched.
func (e *Every) latest(slot, now time.Time) (last, next time.Time) {
	for {
		if e.rounds() {
			slot = e.jump(slot, now)
		} else {
			passed := now.Sub(slot)
			slot = slot.Add(passed - passed%e.interval)
		}
		next = e.Next(slot)
		if next.After(now) {
			return slot, next
		}
		slot = next
	}
}

// String implements [Schedule].
func (e *Every) String() string { return fmt.Sprintf("<freq: %s>", Humanize(e.interval)) }

// Humanize is a duration as Celery logs it (celery.utils.time: humanize_seconds).
func Humanize(d time.Duration) string {
	seconds := math.Round(d.Seconds()*100) / 100
	for _, unit := range []struct {
		name    string
		seconds float64
	}{{"day", 24 * 60 * 60}, {"hour", 60 * 60}, {"minute", 60}, {"second", 1}} {
		if seconds >= unit.seconds {
			n := seconds / unit.seconds
			text := fmt.Sprintf("%.2f %ss", n, unit.name)
			if n == 1 {
				text = strings.TrimSuffix(text, "s")
			}
			return text
		}
	}
	return "now"
}
