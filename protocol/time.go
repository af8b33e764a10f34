package protocol

import (
	"errors"
	"fmt"
	"time"
)

// ParseTime reads a date as dateutil's isoparse does, which is what Celery uses for
// ETA and expires: extended or basic form, a date alone, week and ordinal dates, any
// single character before the time, ".", "," and offsets. A date without an offset is
// in loc; nil is UTC, as for every Celery worker.
//
// Numbers must be plain digits; isoparse also takes what Python's int takes ("+1").
func ParseTime(s string, loc *time.Location) (time.Time, error) {
	if loc == nil {
		loc = time.UTC
	}
	p := isoParser{text: s, loc: loc}
	if err := p.date(); err != nil {
		return time.Time{}, err
	}
	if p.pos < len(s) {
		p.pos++ // the separator may be any character
		if err := p.clock(); err != nil {
			return time.Time{}, err
		}
	}
	return p.time()
}

// FormatTime writes t as Python's datetime.isoformat: microseconds unless they are
// zero, and always an offset ("+00:00", never "Z").
func FormatTime(t time.Time) string { return string(AppendTime(nil, t)) }

// AppendTime appends the text of FormatTime.
func AppendTime(dst []byte, t time.Time) []byte {
	if t.Nanosecond() >= 1000 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000000-07:00")
	}
	return t.AppendFormat(dst, "2006-01-02T15:04:05-07:00")
}

// isoParser holds what has been read so far. Fields left out keep their lowest value.
type isoParser struct {
	text  string
	pos   int
	loc   *time.Location
	year  int
	month int
	day   int
	// days counts those after year-month-day: of week and ordinal dates, and of 24:00.
	days  int
	parts [4]int // hour, minute, second, microsecond
}

func (p *isoParser) date() error {
	if len(p.text) < 4 {
		return errors.New("ISO string too short")
	}
	year, err := digits(p.text[:4])
	if err != nil {
		return err
	}
	p.year = year
	if p.commonDate() == nil {
		return nil
	}
	return p.uncommonDate()
}

// commonDate reads YYYY, YYYY-MM, YYYY-MM-DD and YYYYMMDD.
func (p *isoParser) commonDate() (err error) {
	p.month, p.day, p.pos = 1, 1, 4
	if p.pos == len(p.text) {
		return nil
	}
	dashed := p.skip('-')
	if p.month, err = p.number(2); err != nil {
		return err
	}
	if p.pos == len(p.text) {
		if dashed {
			return nil
		}
		return errors.New("invalid ISO format")
	}
	if dashed && !p.skip('-') {
		return errors.New("invalid separator in ISO string")
	}
	p.day, err = p.number(2)
	return err
}

// uncommonDate reads YYYY-Www, YYYY-Www-D and YYYY-DDD, with and without dashes.
func (p *isoParser) uncommonDate() error {
	p.month, p.day, p.pos = 1, 1, 4
	dashed := p.skip('-')
	if !p.skip('W') {
		ordinal, err := p.number(3)
		if err != nil {
			return err
		}
		if ordinal < 1 || ordinal > time.Date(p.year, 12, 31, 0, 0, 0, 0, time.UTC).YearDay() {
			return fmt.Errorf("invalid ordinal day %d for year %d", ordinal, p.year)
		}
		p.days = ordinal - 1
		return nil
	}
	week, err := p.slice(2)
	if err != nil {
		return err
	}
	day := 1
	if p.pos < len(p.text) {
		if p.skip('-') != dashed {
			return errors.New("inconsistent use of dash separator")
		}
		if day, err = p.number(1); err != nil {
			return err
		}
	}
	if week < 1 || week > 53 {
		return fmt.Errorf("invalid week: %d", week)
	}
	if day < 1 || day > 7 {
		return fmt.Errorf("invalid weekday: %d", day)
	}
	// January 4th is always in week 1, which starts on a Monday.
	jan4 := (int(time.Date(p.year, 1, 4, 0, 0, 0, 0, time.UTC).Weekday()) + 6) % 7
	p.days = 3 - jan4 + (week-1)*7 + day - 1
	return nil
}

// clock reads hh, hh:mm, hhmm, hh:mm:ss and hhmmss with a fraction and an offset.
func (p *isoParser) clock() error {
	if len(p.text)-p.pos < 2 {
		return errors.New("ISO time too short")
	}
	colons := false
	for part := 0; p.pos < len(p.text) && part <= 5; part++ {
		switch c := p.text[p.pos]; {
		case c == '-' || c == '+' || c == 'Z' || c == 'z':
			return p.offset()
		case part == 1:
			colons = p.skip(':')
		case part == 2 && colons && !p.skip(':'):
			return errors.New("inconsistent use of colon separator")
		}
		if part < 3 {
			n, err := p.slice(2)
			if err != nil {
				return err
			}
			p.parts[part] = n
		} else if part == 3 {
			p.fraction()
		}
	}
	if p.pos < len(p.text) {
		return errors.New("unused components in ISO string")
	}
	return nil
}

// fraction reads up to six digits and passes over the rest.
func (p *isoParser) fraction() {
	rest := p.text[p.pos:]
	if len(rest) < 2 || (rest[0] != '.' && rest[0] != ',') || !isDigit(rest[1]) {
		return
	}
	p.pos++
	scale := 100_000
	for ; p.pos < len(p.text) && isDigit(p.text[p.pos]); p.pos++ {
		p.parts[3] += int(p.text[p.pos]-'0') * scale
		scale /= 10
	}
}

// offset reads Z, ±hh, ±hhmm and ±hh:mm, which must end the text.
func (p *isoParser) offset() error {
	s := p.text[p.pos:]
	if s == "Z" || s == "z" {
		p.loc = time.UTC
		return nil
	}
	if len(s) != 3 && len(s) != 5 && len(s) != 6 {
		return errors.New("time zone offset must be 1, 3, 5 or 6 characters")
	}
	if s[0] != '+' && s[0] != '-' {
		return errors.New("time zone offset requires sign")
	}
	hours, err := digits(s[1:3])
	if err != nil {
		return err
	}
	minutes := 0
	if len(s) > 3 {
		rest := s[3:]
		if rest[0] == ':' {
			rest = rest[1:]
		}
		if minutes, err = digits(rest); err != nil {
			return err
		}
	}
	if hours > 23 || minutes > 59 {
		return errors.New("invalid hours or minutes in time zone offset")
	}
	seconds := hours*3600 + minutes*60
	if s[0] == '-' {
		seconds = -seconds
	}
	p.loc = time.UTC
	if seconds != 0 {
		p.loc = time.FixedZone("", seconds)
	}
	return nil
}

// time checks the ranges that datetime checks and builds the result.
func (p *isoParser) time() (time.Time, error) {
	hour, minute, second, micro := p.parts[0], p.parts[1], p.parts[2], p.parts[3]
	if hour == 24 {
		if minute != 0 || second != 0 || micro != 0 {
			return time.Time{}, errors.New("hour may only be 24 at 24:00:00.000")
		}
		hour, p.days = 0, p.days+1
	}
	switch {
	case p.year < 1:
		return time.Time{}, fmt.Errorf("year %d is out of range", p.year)
	case p.month < 1 || p.month > 12:
		return time.Time{}, errors.New("month must be in 1..12")
	case p.day < 1 || p.day > time.Date(p.year, time.Month(p.month)+1, 0, 0, 0, 0, 0, time.UTC).Day():
		return time.Time{}, errors.New("day is out of range for month")
	case hour > 23:
		return time.Time{}, errors.New("hour must be in 0..23")
	case minute > 59:
		return time.Time{}, errors.New("minute must be in 0..59")
	case second > 59:
		return time.Time{}, errors.New("second must be in 0..59")
	}
	t := time.Date(p.year, time.Month(p.month), p.day+p.days, hour, minute, second, micro*1000, p.loc)
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}, errors.New("date value out of range")
	}
	return t, nil
}

func (p *isoParser) skip(c byte) bool {
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// number reads exactly n digits.
func (p *isoParser) number(n int) (int, error) {
	if len(p.text)-p.pos < n {
		return 0, errors.New("invalid ISO format: too short")
	}
	v, err := digits(p.text[p.pos : p.pos+n])
	p.pos += n
	return v, err
}

// slice reads n digits, or fewer at the end of the text: isoparse takes slices there,
// and Python's slices may be short.
func (p *isoParser) slice(n int) (int, error) {
	return p.number(min(n, max(1, len(p.text)-p.pos)))
}

func digits(s string) (int, error) {
	v := 0
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, fmt.Errorf("invalid number %q", s)
		}
		v = v*10 + int(s[i]-'0')
	}
	if s == "" {
		return 0, errors.New("missing number")
	}
	return v, nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
