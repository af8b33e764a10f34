package protocol

import "time"

// ParseTime reads a date as dateutil's isoparse does. A date without an offset is
// taken in loc; nil is UTC.
func ParseTime(s string, loc *time.Location) (time.Time, error) { return time.Time{}, nil }

// FormatTime writes t as Python's datetime.isoformat: microseconds unless they are
// zero, and always an offset ("+00:00", never "Z").
func FormatTime(t time.Time) string { return "" }
