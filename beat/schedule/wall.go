package schedule

import "time"

// A wall time is what a clock on the wall shows, in seconds as if the zone were UTC.

// longestOffset is more than any zone is away from UTC, and than any clock was ever put back.
const longestOffset = 26 * 60 * 60

// wallOf is the wall time at an instant.
func wallOf(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	return t.Unix() + int64(offset)
}

// instants returns when the clock shows a wall time, in seconds: the first time and, if it is shown
// twice, the second. A wall time that is skipped counts as if the clock had not been put forward yet.
func instants(wall int64, zone *time.Location) (first, second int64) {
	t := time.Unix(wall-longestOffset, 0).In(zone)
	before := int64(0)
	for {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		first = wall - int64(offset)
		switch {
		case !end.IsZero() && first >= end.Unix():
			before, t = first, end
			continue
		case !start.IsZero() && first < start.Unix():
			first = before // skipped
		}
		if !end.IsZero() {
			_, offset = end.Zone()
			if again := wall - int64(offset); again >= end.Unix() {
				return first, again
			}
		}
		return first, first
	}
}
