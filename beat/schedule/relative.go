package schedule

import "time"

const (
	day    = 24 * 60 * 60
	hour   = 60 * 60
	minute = 60
)

// unit is what relative times are rounded to, in seconds.
func (e *Every) unit() int64 {
	switch {
	case e.interval >= day*time.Second:
		return day
	case e.interval >= hour*time.Second:
		return hour
	case e.interval >= minute*time.Second:
		return minute
	default:
		return 1
	}
}

// nextRounded is the relative deadline of celery.utils.time.remaining (5.7). A wall time
// that comes twice stands for both instants.
func (e *Every) nextRounded(last time.Time) time.Time {
	if e.unit() == day {
		return e.nextMidnight(last)
	}
	end := last.Add(e.interval)
	candidates := e.rounded(nil, wallOf(end, e.zone))
	slot := latestUntil(candidates, end)
	if !slot.After(last) && e.unit() > 1 {
		// A clock that was put back by less than an hour can put the rounded time before last.
		candidates = e.rounded(candidates, wallOf(end, e.zone)+e.unit())
		candidates = e.rounded(candidates, wallOf(last, e.zone)+int64(e.interval/time.Second))
		candidates = after(candidates, last)
		slot = end.UTC()
		if len(candidates) > 0 {
			slot = latestUntil(candidates, end)
		}
	}
	return slot
}

// nextMidnight goes on by days of the calendar.
func (e *Every) nextMidnight(last time.Time) time.Time {
	wall := wallOf(last, e.zone) + int64(e.interval/time.Second)
	if midnight := after(e.rounded(nil, wall), last); len(midnight) > 0 {
		return earliest(midnight)
	}
	return last.Add(e.interval).UTC()
}

// rounded adds the instants of a wall time that is rounded down.
func (e *Every) rounded(to []time.Time, wall int64) []time.Time {
	wall -= modulo(wall, e.unit())
	first, second := instants(wall, e.zone)
	return append(to, time.Unix(first, 0).UTC(), time.Unix(second, 0).UTC())
}

// jump goes from a slot to a later one until now, and leads to where single steps would: from a rounded
// time each is the interval rounded down, as long as the clock is not changed.
func (e *Every) jump(slot, now time.Time) time.Time {
	unit := e.unit()
	step := int64(e.interval/time.Second) / unit * unit
	wall := wallOf(slot, e.zone)
	if modulo(wall, unit) != 0 || slot.Nanosecond() != 0 {
		return slot
	}
	if unit == day {
		steps := (wallOf(now, e.zone)-wall)/step - 1
		if steps > 0 {
			slot = e.rounded(nil, wall+steps*step)[0]
		}
		return slot
	}
	if _, end := slot.In(e.zone).ZoneBounds(); !end.IsZero() && end.Before(now) {
		now = end
	}
	if steps := (now.Unix()-slot.Unix())/step - 2; steps > 0 {
		return time.Unix(slot.Unix()+steps*step, 0).UTC()
	}
	return slot
}

func modulo(a, b int64) int64 { return ((a % b) + b) % b }

func after(times []time.Time, t time.Time) []time.Time {
	var later []time.Time
	for _, at := range times {
		if at.After(t) {
			later = append(later, at)
		}
	}
	return later
}

func earliest(times []time.Time) time.Time {
	first := times[0]
	for _, at := range times {
		if at.Before(first) {
			first = at
		}
	}
	return first
}

// latestUntil is the last of the times up to end, else the earliest.
func latestUntil(times []time.Time, end time.Time) time.Time {
	var last time.Time
	for _, at := range times {
		if !at.After(end) && at.After(last) {
			last = at
		}
	}
	if last.IsZero() {
		return earliest(times)
	}
	return last
}
