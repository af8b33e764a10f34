package schedule

import "time"

// searchedMonths is longer than the 29th of February can be on no given weekday: 40 years.
const searchedMonths = 41 * 12

// lastYear is the last one that Python's dates have.
const lastYear = 9999

// nextWall is the first wall time that matches after the minute of another. There is none after lastYear.
func (c *Crontab) nextWall(wall int64) (int64, bool) {
	t := time.Unix(wall, 0).UTC()
	year, month, dayOfMonth := t.Date()
	if c.months.has(int(month)) && c.days.has(dayOfMonth) && c.weekdays.has(int(t.Weekday())) {
		midnight := wall - modulo(wall, day)
		if c.hours.has(t.Hour()) {
			if next := c.minutes.from(t.Minute() + 1); next < 60 {
				return midnight + int64(t.Hour())*hour + int64(next)*minute, true
			}
		}
		if next := c.hours.from(t.Hour() + 1); next < 24 {
			return midnight + int64(next)*hour + int64(c.minutes.from(0))*minute, true
		}
	}
	midnight, ok := c.nextDay(year, int(month), dayOfMonth+1)
	return midnight + int64(c.hours.from(0))*hour + int64(c.minutes.from(0))*minute, ok
}

// nextDay is the midnight of the first day that matches, from one on which may be after the end of its month.
func (c *Crontab) nextDay(year, month, from int) (int64, bool) {
	for range searchedMonths {
		if year > lastYear {
			return 0, false
		}
		if c.months.has(month) {
			first := time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC)
			for d := c.days.from(from); d <= monthLength(year, month); d = c.days.from(d + 1) {
				if c.weekdays.has((int(first.Weekday()) + d - 1) % 7) {
					return first.Unix() + int64(d-1)*day, true
				}
			}
		}
		from = 1
		if month++; month > 12 {
			year, month = year+1, 1
		}
	}
	return 0, false
}

func monthLength(year, month int) int {
	if month == 2 && (year%4 != 0 || year%100 == 0 && year%400 != 0) {
		return 28
	}
	return longestMonth(month)
}

func longestMonth(month int) int {
	switch month {
	case 2:
		return 29
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}
