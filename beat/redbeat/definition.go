package redbeat

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/protocol/pyjson"
)

// definition is what RedBeat stores of an entry.
type definition struct {
	Name     string          `json:"name"`
	Task     *string         `json:"task"`
	Args     json.RawMessage `json:"args"`
	Kwargs   json.RawMessage `json:"kwargs"`
	Options  json.RawMessage `json:"options"`
	Schedule json.RawMessage `json:"schedule"`
	Enabled  *bool           `json:"enabled"` // nil: it is
}

// entry reads an entry from the key of its name; nil: it is disabled. zone is that of crontabs and relative
// intervals. Of an entry that cannot be used, Err says why.
func entry(name string, raw, meta []byte, zone *time.Location) *beat.Entry {
	e := &beat.Entry{Name: name}
	d, err := decode(name, raw)
	if err == nil && d.Enabled != nil && !*d.Enabled {
		return nil
	}
	if err == nil {
		err = d.fill(e, zone)
	}
	if err == nil {
		err = fillMeta(e, meta)
	}
	e.Err = err
	return e
}

func decode(name string, raw []byte) (*definition, error) {
	d := &definition{}
	if err := pyjson.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("the definition cannot be read: %w", err)
	}
	if d.Name != name {
		return nil, fmt.Errorf("the definition is that of %q", d.Name)
	}
	return d, nil
}

// fill sets all but what is known of runs.
func (d *definition) fill(e *beat.Entry, zone *time.Location) (err error) {
	if d.Task == nil || *d.Task == "" {
		return errors.New("the definition names no task")
	}
	e.Task = *d.Task
	if e.Schedule, err = decodeSchedule(d.Schedule, zone); err != nil {
		return err
	}
	e.Definition = string(d.Schedule)
	if e.Args, err = values(d.Args, '['); err != nil {
		return fmt.Errorf("args: %w", err)
	}
	if e.Kwargs, err = values(d.Kwargs, '{'); err != nil {
		return fmt.Errorf("kwargs: %w", err)
	}
	if e.Options, err = options(d.Options); err != nil {
		return fmt.Errorf("options: %w", err)
	}
	return nil
}

// storedSchedule is a schedule as RedBeat stores it; the fields of a crontab may be text, numbers, or lists.
type storedSchedule struct {
	Type     string          `json:"__type__"`
	Every    json.RawMessage `json:"every"`
	Relative bool            `json:"relative"`

	Minute      json.RawMessage `json:"minute"`
	Hour        json.RawMessage `json:"hour"`
	DayOfWeek   json.RawMessage `json:"day_of_week"`
	DayOfMonth  json.RawMessage `json:"day_of_month"`
	MonthOfYear json.RawMessage `json:"month_of_year"`
}

func decodeSchedule(raw json.RawMessage, zone *time.Location) (schedule.Schedule, error) {
	var s storedSchedule
	if pyjson.Kind(raw) == '{' {
		if err := pyjson.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("schedule: %w", err)
		}
	}
	var document any
	switch s.Type {
	case "interval":
		if string(s.Every) == "null" {
			s.Every = nil
		}
		document = map[string]any{"every": s.Every, "relative": s.Relative}
	case "crontab":
		fields := map[string]json.RawMessage{}
		for name, value := range map[string]json.RawMessage{
			"minute": s.Minute, "hour": s.Hour, "day_of_week": s.DayOfWeek, "day_of_month": s.DayOfMonth, "month_of_year": s.MonthOfYear,
		} {
			if value != nil {
				fields[name] = value
			}
		}
		document = map[string]any{"crontab": fields}
	case "rrule":
		return notNil(parseRule(raw))
	default:
		return nil, fmt.Errorf("schedule: %s is no interval, crontab or rrule", raw)
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	decoded, err := schedule.Decode(text, zone)
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	return decoded, nil
}

// notNil keeps a nil pointer from becoming a Schedule.
func notNil(r *recurrence, err error) (schedule.Schedule, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}
