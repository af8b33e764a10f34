package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Fields are the five fields of a crontab, in Celery's syntax: see crontab of celery.schedules.
// A day must satisfy DayOfMonth, MonthOfYear and DayOfWeek; "*" is every one, and nothing may be empty.
type Fields struct{ Minute, Hour, DayOfMonth, MonthOfYear, DayOfWeek string }

// Crontab is due at the minutes that its fields match on the clock of its zone.
type Crontab struct {
	fields Fields
	shown  Fields // as Celery prints them
	zone   *time.Location

	minutes, hours, days, months, weekdays set
}

const everyHour = 1<<24 - 1

// NewCrontab returns the crontab with these fields on the clock of a zone; nil: UTC. It is an error if
// there is no such day, as the 30th of February.
func NewCrontab(f Fields, zone *time.Location) (*Crontab, error) {
	c := &Crontab{fields: f, shown: f, zone: zone}
	if zone == nil {
		c.zone = time.UTC
	}
	var problems []error
	for _, part := range []struct {
		field field
		text  string
		to    *set
	}{
		{minuteField, f.Minute, &c.minutes},
		{hourField, f.Hour, &c.hours},
		{dayOfMonthField, f.DayOfMonth, &c.days},
		{monthOfYearField, f.MonthOfYear, &c.months},
		{dayOfWeekField, f.DayOfWeek, &c.weekdays},
	} {
		var err error
		if *part.to, err = part.field.parse(part.text); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	for month := 1; month <= 12; month++ {
		if c.months.has(month) && c.days.from(1) <= longestMonth(month) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("day_of_month %q never occurs in month_of_year %q", f.DayOfMonth, f.MonthOfYear)
}

// ParseCrontab reads a line with the fields minute, hour, day_of_month, month_of_year and day_of_week.
func ParseCrontab(line string, zone *time.Location) (*Crontab, error) {
	parts := strings.Fields(line)
	if len(parts) != 5 {
		return nil, fmt.Errorf("%q has %d fields: a crontab has five, minute hour day_of_month month_of_year day_of_week", line, len(parts))
	}
	return NewCrontab(Fields{parts[0], parts[1], parts[2], parts[3], parts[4]}, zone)
}

// Next implements [Schedule]. The seconds of last do not count.
func (c *Crontab) Next(last time.Time) time.Time {
	from := last.Unix()
	wall := wallOf(last, c.zone)
	for {
		var ok bool
		if wall, ok = c.nextWall(wall); !ok {
			return time.Time{}
		}
		at, _ := instants(wall, c.zone)
		if at <= from { // it was in the first pass, and this is the second
			continue
		}
		if c.hours == everyHour {
			at = c.inSecondPass(from, at)
		}
		return time.Unix(at, 0).UTC()
	}
}

// inSecondPass is the first match after an instant in an hour that comes for the second time, if there is
// one before another instant; otherwise it is that.
func (c *Crontab) inSecondPass(from, before int64) int64 {
	t := time.Unix(from-longestOffset, 0).In(c.zone)
	for {
		_, end := t.ZoneBounds()
		if end.IsZero() || end.Unix() >= before {
			return before
		}
		_, offset := t.Zone()
		_, offsetAfter := end.Zone()
		passStart, passEnd := end.Unix(), end.Unix()+int64(offset-offsetAfter)
		// Matches are after the minute of the wall time they are looked for from.
		start := max(from, passStart-1) + int64(offsetAfter)
		if wall, ok := c.nextWall(start); ok {
			if at := wall - int64(offsetAfter); at > from && at < min(passEnd, before) {
				return at
			}
		}
		t = end
	}
}

// String implements [Schedule].
func (c *Crontab) String() string {
	f := &c.shown
	return fmt.Sprintf("<crontab: %s %s %s %s %s (m/h/dM/MY/d)>", f.Minute, f.Hour, f.DayOfMonth, f.MonthOfYear, f.DayOfWeek)
}

// Zone is the zone of its clock.
func (c *Crontab) Zone() *time.Location { return c.zone }
