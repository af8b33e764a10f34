package schedule

import (
	"encoding/json"
	"strconv"
	"time"
)

// Schedules are written as Decode reads them. What two schedules with the same text are due at is the same.

// MarshalJSON implements [json.Marshaler].
func (e *Every) MarshalJSON() ([]byte, error) {
	seconds := json.RawMessage(strconv.FormatFloat(e.interval.Seconds(), 'f', -1, 64))
	if !e.relative {
		return seconds, nil
	}
	zone := e.zone.String()
	return json.Marshal(document{Every: seconds, Relative: true, Timezone: &zone})
}

// MarshalJSON implements [json.Marshaler].
func (c *Crontab) MarshalJSON() ([]byte, error) {
	type fields struct {
		Minute      string `json:"minute"`
		Hour        string `json:"hour"`
		DayOfWeek   string `json:"day_of_week"`
		DayOfMonth  string `json:"day_of_month"`
		MonthOfYear string `json:"month_of_year"`
		Timezone    string `json:"timezone"`
	}
	f := c.fields
	return json.Marshal(map[string]fields{"crontab": {f.Minute, f.Hour, f.DayOfWeek, f.DayOfMonth, f.MonthOfYear, c.zone.String()}})
}

// MarshalJSON implements [json.Marshaler].
func (s *Solar) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]solarFields{"solar": {s.event, s.latitude.text, s.longitude.text}})
}

// MarshalJSON implements [json.Marshaler].
func (a *At) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]time.Time{"clocked": a.at})
}
