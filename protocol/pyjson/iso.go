package pyjson

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// errISO is what a text that is no date or time is refused with.
var errISO = errors.New("invalid isoformat string")

// parseDatetime reads what Python's isoformat writes and fromisoformat reads,
// apart from week dates (2030-W01-3): a date, and perhaps any one character, a
// time of day and a UTC offset. Without an offset the result is in [Naive].
func parseDatetime(s string) (time.Time, error) {
	date, rest, err := cutDate(s)
	if err != nil {
		return time.Time{}, err
	}
	var clock Clock
	var offset time.Duration
	if rest != "" {
		_, size := utf8.DecodeRuneInString(rest)
		if clock, offset, err = parseClock(rest[size:]); err != nil {
			return time.Time{}, err
		}
	}
	zone := Naive
	if clock.Zone != "" {
		zone = time.UTC
		if offset != 0 {
			zone = time.FixedZone("", int(offset/time.Second))
		}
	}
	t := time.Date(date.Year, date.Month, date.Day, clock.Hour, clock.Minute, clock.Second,
		clock.Microsecond*1000, zone)
	return t.Add(-offset % time.Second), nil // Go's zones are of whole seconds
}

// parseDate reads a date, or a datetime of which the date is taken, as kombu does.
func parseDate(s string) (Date, error) {
	t, err := parseDatetime(s)
	if err != nil {
		return Date{}, err
	}
	year, month, day := t.Date()
	return Date{year, month, day}, nil
}

// cutDate takes YYYY-MM-DD or YYYYMMDD from the front of s.
func cutDate(s string) (d Date, rest string, err error) {
	width, month, day := 8, 4, 6
	if len(s) > 4 && s[4] == '-' {
		width, month, day = 10, 5, 8
	}
	if len(s) < width || width == 10 && s[7] != '-' {
		return d, "", errISO
	}
	y, ok1 := number(s[:4])
	m, ok2 := number(s[month : month+2])
	n, ok3 := number(s[day : day+2])
	if !ok1 || !ok2 || !ok3 || y == 0 || m == 0 || m > 12 || n == 0 || n > daysIn(time.Month(m), y) {
		return d, "", errISO
	}
	return Date{y, time.Month(m), n}, s[width:], nil
}

func daysIn(m time.Month, year int) int {
	return time.Date(year, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// parseTimeOfDay reads what Python's time.fromisoformat reads.
func parseTimeOfDay(s string) (Clock, error) {
	c, _, err := parseClock(strings.TrimPrefix(s, "T"))
	return c, err
}

// parseClock reads a time of day with or without a UTC offset, of which it writes
// the normal form to the Zone.
func parseClock(s string) (c Clock, offset time.Duration, err error) {
	clock, zone := s, ""
	if i := strings.IndexAny(s, "Z+-"); i >= 0 {
		clock, zone = s[:i], s[i:]
	}
	if c, err = parseHMS(clock); err != nil || zone == "" {
		return c, 0, err
	}
	if zone[0] == 'Z' {
		if zone != "Z" {
			return Clock{}, 0, errISO
		}
		c.Zone = "+00:00"
		return c, 0, nil
	}
	away, err := parseHMS(zone[1:])
	if err != nil {
		return Clock{}, 0, err
	}
	seconds := away.Hour*3600 + away.Minute*60 + away.Second
	offset = time.Duration(seconds)*time.Second + time.Duration(away.Microsecond)*time.Microsecond
	if zone[0] == '-' {
		seconds, offset = -seconds, -offset
	}
	c.Zone = string(appendOffset(nil, seconds))
	if away.Microsecond != 0 {
		c.Zone = zone[:1] + away.String()
	}
	return c, offset, nil
}

// parseHMS reads HH, HH:MM, HH:MM:SS and a fraction of a second, of which what
// is finer than a microsecond is cut off; the colons may be missing.
func parseHMS(s string) (c Clock, err error) {
	s, fraction, fractional := strings.Cut(strings.Replace(s, ",", ".", 1), ".")
	parts := [3]int{}
	colons := len(s) > 2 && s[2] == ':'
	n := 0
	for ; s != "" && n < len(parts); n++ {
		if n > 0 && colons {
			if s[0] != ':' {
				return c, errISO
			}
			s = s[1:]
		}
		if len(s) < 2 {
			return c, errISO
		}
		var ok bool
		if parts[n], ok = number(s[:2]); !ok {
			return c, errISO
		}
		s = s[2:]
	}
	c = Clock{Hour: parts[0], Minute: parts[1], Second: parts[2]}
	if n == 0 || s != "" || c.Hour > 23 || c.Minute > 59 || c.Second > 59 || fractional && n < 3 {
		return c, errISO
	}
	if fractional {
		if fraction == "" || skipDigits([]byte(fraction), 0) != len(fraction) {
			return c, errISO
		}
		c.Microsecond, _ = number((fraction + "00000")[:6])
	}
	return c, nil
}

// number reads ASCII digits and nothing else.
func number(s string) (n int, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// appendDatetime writes t as Python's isoformat does: always with seconds, with
// microseconds only when there are some, and never Z.
func appendDatetime(dst []byte, t time.Time) ([]byte, error) {
	if year := t.Year(); year < 1 || year > 9999 {
		return dst, fmt.Errorf("year %d is out of range for a Python datetime", year)
	}
	dst = t.AppendFormat(dst, "2006-01-02T15:04:05")
	if us := t.Nanosecond() / 1000; us != 0 {
		dst = append(dst, '.')
		digits := strconv.Itoa(1000000 + us)
		dst = append(dst, digits[1:]...)
	}
	if t.Location() == Naive {
		return dst, nil
	}
	_, seconds := t.Zone()
	return appendOffset(dst, seconds), nil
}

// appendOffset writes a UTC offset as +02:00, with seconds when there are some.
func appendOffset(dst []byte, seconds int) []byte {
	sign := byte('+')
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	dst = append(dst, sign)
	dst = appendTwoDigits(dst, seconds/3600)
	dst = appendTwoDigits(append(dst, ':'), seconds/60%60)
	if s := seconds % 60; s != 0 {
		dst = appendTwoDigits(append(dst, ':'), s)
	}
	return dst
}

func appendTwoDigits(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}
