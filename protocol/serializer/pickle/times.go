package pickle

import (
	"strings"
	"time"
	_ "time/tzdata" // a message may name any zone, on machines that have none

	"github.com/apium/apium/protocol/pyjson"
)

// zone is a tzinfo. It has no JSON form of its own.
type zone struct{ loc *time.Location }

func (z *zone) Plain() (any, error) { return nil, notPlain("a time zone") }

// timedelta appears as its total_seconds().
type timedelta struct{ days, seconds, microseconds int64 }

func (d timedelta) Plain() (any, error) {
	return (float64(d.days*86400+d.seconds)*1e6 + float64(d.microseconds)) / 1e6, nil
}

// state returns the bytes that a date or time is pickled as. Python 2 has them as str,
// and Python 3 reads text there as well.
func state(r *reader, name string, args []any, size int) ([]byte, error) {
	if len(args) == 1 || len(args) == 2 {
		var b []byte
		switch v := args[0].(type) {
		case []byte:
			b = v
		case str8:
			b = v
		case string:
			v2, err := latin1(r, v)
			if err != nil {
				return nil, err
			}
			b, _ = v2.([]byte)
		}
		if len(b) == size {
			return b, nil
		}
	}
	return nil, errArguments(name)
}

// location returns the zone that follows the state; nil if there is none.
func location(name string, args []any) (*time.Location, error) {
	if len(args) < 2 || args[1] == nil {
		return nil, nil
	}
	z, ok := args[1].(*zone)
	if !ok {
		return nil, errArguments(name)
	}
	return z.loc, nil
}

// newDatetime reads ten bytes: year, month, day, hour, minute, second, microseconds
// (Modules/_datetimemodule.c). The first bit of the month is the fold.
func newDatetime(r *reader, args []any) (any, error) {
	const name = "datetime.datetime"
	b, err := state(r, name, args, 10)
	if err != nil {
		return nil, err
	}
	loc, err := location(name, args)
	if err != nil {
		return nil, err
	}
	date, ok := dateOf(b[0], b[1], b[2]&0x7f, b[3])
	if !ok || b[4] > 23 || b[5] > 59 || b[6] > 59 {
		return nil, errArguments(name)
	}
	wall := time.Date(date.Year, date.Month, date.Day, int(b[4]), int(b[5]), int(b[6]), micro(b[7:])*1000, time.UTC)
	if loc == nil {
		return wall.Add(0).In(pyjson.Naive), nil
	}
	offset := offsetAt(wall, loc, b[2]&0x80 != 0)
	if offset == 0 {
		return wall, nil
	}
	return wall.Add(-time.Duration(offset) * time.Second).In(time.FixedZone("", offset)), nil
}

// offsetAt is the UTC offset, in seconds, of a wall clock reading: as PEP 495 has it,
// the one before a change of the clocks, or with fold the one after it.
func offsetAt(wall time.Time, loc *time.Location, fold bool) int {
	at := func(t time.Time) int {
		_, seconds := t.In(loc).Zone()
		return seconds
	}
	shifted := func(offset int) time.Time { return wall.Add(-time.Duration(offset) * time.Second) }
	before, after := at(wall.Add(-24*time.Hour)), at(wall.Add(24*time.Hour))
	isBefore, isAfter := at(shifted(before)) == before, at(shifted(after)) == after
	switch {
	case isBefore && !isAfter:
		return before
	case isAfter && !isBefore:
		return after
	case fold: // the reading comes twice, or never
		return after
	}
	return before
}

func dateOf(century, year, month, day byte) (d pyjson.Date, ok bool) {
	d = pyjson.Date{Year: int(century)<<8 | int(year), Month: time.Month(month), Day: int(day)}
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC)
	return d, d.Year >= 1 && d.Year <= 9999 && t.Month() == d.Month && t.Day() == d.Day && d.Day > 0
}

func micro(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func newDate(r *reader, args []any) (any, error) {
	const name = "datetime.date"
	b, err := state(r, name, args, 4)
	if err != nil {
		return nil, err
	}
	date, ok := dateOf(b[0], b[1], b[2], b[3])
	if !ok {
		return nil, errArguments(name)
	}
	return date, nil
}

// newTime reads six bytes. A zone whose offset depends on the date gives none.
func newTime(r *reader, args []any) (any, error) {
	const name = "datetime.time"
	b, err := state(r, name, args, 6)
	if err != nil {
		return nil, err
	}
	loc, err := location(name, args)
	if err != nil {
		return nil, err
	}
	clock := pyjson.Clock{Hour: int(b[0] & 0x7f), Minute: int(b[1]), Second: int(b[2]), Microsecond: micro(b[3:])}
	if clock.Hour > 23 || clock.Minute > 59 || clock.Second > 59 || clock.Microsecond > 999999 {
		return nil, errArguments(name)
	}
	if loc != nil && loc.String() == "" || loc == time.UTC {
		clock.Zone = strings.TrimSuffix(time.Time{}.In(loc).Format("-07:00:00"), ":00")
	}
	return clock, nil
}

func newTimedelta(_ *reader, args []any) (any, error) {
	var d timedelta
	parts := []*int64{&d.days, &d.seconds, &d.microseconds}
	if len(args) > len(parts) {
		return nil, errArguments("datetime.timedelta")
	}
	for i, arg := range args {
		n, ok := arg.(int64)
		if !ok || n > 1e9 || n < -1e9 {
			return nil, errArguments("datetime.timedelta")
		}
		*parts[i] = n
	}
	return d, nil
}

func fixed(name string, seconds int64) (any, error) {
	switch {
	case seconds <= -86400 || seconds >= 86400:
		return nil, errArguments(name)
	case seconds == 0:
		return &zone{time.UTC}, nil
	}
	return &zone{time.FixedZone("", int(seconds))}, nil
}

func newUTC(*reader, []any) (any, error) { return &zone{time.UTC}, nil }

// newTimezone takes the offset and perhaps a name.
func newTimezone(_ *reader, args []any) (any, error) {
	if len(args) == 1 || len(args) == 2 {
		if d, ok := args[0].(timedelta); ok && d.microseconds == 0 {
			return fixed("datetime.timezone", d.days*86400+d.seconds)
		}
	}
	return nil, errArguments("datetime.timezone")
}

// newZoneInfo takes the key, and when unpickled whether it comes from the cache.
func newZoneInfo(r *reader, args []any) (any, error) {
	if len(args) == 0 {
		return nil, errArguments("zoneinfo.ZoneInfo")
	}
	name := text(args[0])
	loc, ok := r.zones[name]
	if !ok {
		var err error
		if loc, err = time.LoadLocation(name); err != nil || name == "" || name == "Local" {
			return nil, failf("unknown time zone %q", name)
		}
		r.zones[name] = loc
	}
	return &zone{loc}, nil
}

// newPytz takes the name, and of zones whose clocks change the offset of the moment,
// in seconds (pytz.tzinfo.DstTzInfo.__reduce__).
func newPytz(r *reader, args []any) (any, error) {
	if len(args) < 2 {
		return newZoneInfo(r, args)
	}
	if seconds, ok := args[1].(int64); ok {
		return fixed("pytz", seconds)
	}
	return nil, errArguments("pytz")
}

// newPytzFixed takes minutes.
func newPytzFixed(_ *reader, args []any) (any, error) {
	if len(args) == 1 {
		if minutes, ok := args[0].(int64); ok && minutes > -1440 && minutes < 1440 {
			return fixed("pytz.FixedOffset", minutes*60)
		}
	}
	return nil, errArguments("pytz.FixedOffset")
}
