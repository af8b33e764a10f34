package redbeat

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/protocol/pyjson"
)

// meta is what RedBeat stores of an entry's runs.
type meta struct {
	LastRunAt     json.RawMessage `json:"last_run_at"`
	TotalRunCount int             `json:"total_run_count"`
}

// fillMeta sets what is known of runs. An entry of which nothing is known is due, as it is for RedBeat.
func fillMeta(e *beat.Entry, raw []byte) error {
	var m meta
	if len(raw) > 0 {
		if err := pyjson.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("the meta data cannot be read: %w", err)
		}
	}
	e.TotalRunCount = m.TotalRunCount
	if len(m.LastRunAt) == 0 || string(m.LastRunAt) == "null" {
		e.Since = never
		return nil
	}
	last, err := parseDatetime(m.LastRunAt)
	if err != nil {
		return fmt.Errorf("the meta data cannot be read: last_run_at: %w", err)
	}
	e.LastRunAt = last.UTC()
	return nil
}

// never stands for the last run of what has not run.
var never = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)

// metaOf is what RedBeat would store after a run.
func metaOf(at time.Time, count int, zone *time.Location) string {
	return fmt.Sprintf(`{"last_run_at": %s, "total_run_count": %d}`, appendDatetime(nil, at.In(zone)), count)
}

// datetime is a datetime as RedBeat's encoder writes it.
type datetime struct {
	Year        int             `json:"year"`
	Month       int             `json:"month"`
	Day         int             `json:"day"`
	Hour        int             `json:"hour"`
	Minute      int             `json:"minute"`
	Second      int             `json:"second"`
	Microsecond int             `json:"microsecond"`
	Timezone    json.RawMessage `json:"timezone"` // a zone's name, or seconds; not there: UTC
}

func parseDatetime(raw []byte) (time.Time, error) {
	var d datetime
	if err := pyjson.Unmarshal(raw, &d); err != nil {
		return time.Time{}, err
	}
	zone, err := parseZone(d.Timezone)
	if err != nil {
		return time.Time{}, err
	}
	wall := time.Date(d.Year, time.Month(d.Month), d.Day, d.Hour, d.Minute, d.Second, d.Microsecond*1000, time.UTC)
	if wall.Year() != d.Year || int(wall.Month()) != d.Month || wall.Day() != d.Day || wall.Hour() != d.Hour || wall.Minute() != d.Minute {
		return time.Time{}, fmt.Errorf("%s is no date", raw)
	}
	return firstInstant(wall, zone), nil
}

func parseZone(raw json.RawMessage) (*time.Location, error) {
	if len(raw) == 0 {
		return time.UTC, nil
	}
	var seconds float64
	if err := pyjson.Unmarshal(raw, &seconds); err == nil {
		return time.FixedZone("", int(seconds)), nil
	}
	name, err := pyjson.Unquote(raw)
	if err != nil || name == "" {
		return nil, fmt.Errorf("timezone: %s is no name of a zone, and no number of seconds", raw)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	return zone, nil
}

// firstInstant is when the clock of a zone shows a wall time, for the first time if it does twice; in a gap
// with the offset from before it. So Python's fold=0 has it.
func firstInstant(wall time.Time, zone *time.Location) time.Time {
	var instant time.Time
	for _, side := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(side).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		_, there := t.Zone()
		if there == offset {
			return t
		}
		if instant.IsZero() {
			instant = t
		}
	}
	return instant
}

// appendDatetime writes a date as RedBeat's encoder does. An hour that comes for the second time is written with
// its offset: by the zone's name it would be read as the first.
func appendDatetime(dst []byte, t time.Time) []byte {
	return fmt.Appendf(dst, `{"__type__": "datetime", "year": %d, "month": %d, "day": %d, "hour": %d, "minute": %d, "second": %d, "microsecond": %d, "timezone": %s}`,
		t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond()/1000, zoneName(t))
}

// zoneName is the zone of a date, as it is written: its name, or an offset in seconds where there is no name.
func zoneName(t time.Time) []byte {
	zone := t.Location()
	if zone == pyjson.Naive {
		zone = time.UTC
	}
	_, offset := t.Zone()
	wall := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	if zone.String() == "" || zone == time.Local || !firstInstant(wall, zone).Equal(t) {
		return fmt.Appendf(nil, "%d.0", offset)
	}
	return pyjson.AppendString(nil, zone.String())
}
