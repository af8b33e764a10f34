package schedule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	_ "time/tzdata" // containers have none
)

// Decode reads a schedule as scripts/export_settings.py writes it:
//
//	30, 2.5                                                seconds
//	{"every": 7200, "relative": true}                      seconds, rounded on the clock of the zone
//	{"crontab": {"minute": "*/5", "hour": [8, 9], "day_of_week": "mon-fri", "timezone": "Europe/Berlin"}}
//	{"solar": {"event": "sunset", "lat": 52.5, "lon": 13.4}}
//	{"clocked": "2027-01-01T00:00:00Z"}
//	"*/5 * * * *"                                          minute hour day_of_month month_of_year day_of_week
//
// What a crontab leaves out is *. zone is that of crontabs without one and of relative intervals, Celery's
// setting timezone; nil: UTC.
func Decode(data []byte, zone *time.Location) (Schedule, error) {
	switch data = bytes.TrimSpace(data); {
	case len(data) == 0 || string(data) == "null":
		return nil, errors.New("there is no schedule")
	case data[0] == '"':
		var line string
		if err := json.Unmarshal(data, &line); err != nil {
			return nil, err
		}
		return notNil(ParseCrontab(line, zone))
	case data[0] == '{':
		return decodeObject(data, zone)
	default:
		interval, err := decodeSeconds(data)
		if err != nil {
			return nil, err
		}
		return notNil(NewEvery(interval))
	}
}

// notNil keeps a nil pointer from becoming a Schedule.
func notNil[S Schedule](s S, err error) (Schedule, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

type document struct {
	Every    json.RawMessage `json:"every,omitempty"`
	Relative bool            `json:"relative,omitempty"`
	Timezone *string         `json:"timezone,omitempty"` // of a relative one
	Crontab  *crontabFields  `json:"crontab,omitempty"`
	Solar    *solarFields    `json:"solar,omitempty"`
	Clocked  *time.Time      `json:"clocked,omitempty"`
}

type crontabFields struct {
	Minute      cronspec `json:"minute"`
	Hour        cronspec `json:"hour"`
	DayOfWeek   cronspec `json:"day_of_week"`
	DayOfMonth  cronspec `json:"day_of_month"`
	MonthOfYear cronspec `json:"month_of_year"`
	Timezone    *string  `json:"timezone"`
}

func decodeObject(data []byte, zone *time.Location) (Schedule, error) {
	var d document
	if err := strictly(data, &d); err != nil {
		return nil, err
	}
	kinds := 0
	for _, given := range []bool{d.Every != nil, d.Crontab != nil, d.Solar != nil, d.Clocked != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return nil, errors.New("a schedule is one of every, crontab, solar and clocked")
	case d.Relative && d.Every == nil:
		return nil, errors.New("only an interval can be relative")
	case d.Crontab != nil:
		return notNil(d.Crontab.crontab(zone))
	case d.Solar != nil:
		return notNil(d.Solar.solar())
	case d.Clocked != nil && (d.Clocked.UTC().Year() < 1 || d.Clocked.UTC().Year() > lastYear):
		return nil, fmt.Errorf("clocked: Python's dates have years from 1 to %d", lastYear)
	case d.Clocked != nil:
		return NewAt(*d.Clocked), nil
	}
	return d.every(zone)
}

func (d *document) every(zone *time.Location) (Schedule, error) {
	interval, err := decodeSeconds(d.Every)
	if err != nil {
		return nil, err
	}
	if !d.Relative {
		return notNil(NewEvery(interval))
	}
	if zone, err = zoneOf(d.Timezone, zone); err != nil {
		return nil, err
	}
	return notNil(NewRelative(interval, zone))
}

// zoneOf is the zone of a name, else another.
func zoneOf(name *string, otherwise *time.Location) (*time.Location, error) {
	if name == nil || *name == "" {
		return otherwise, nil
	}
	zone, err := time.LoadLocation(*name)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	return zone, nil
}

// strictly decodes what has no names but those of the value.
func strictly(data []byte, value any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(value); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// decodeSeconds reads an interval. Like Python's timedelta it has whole microseconds.
func decodeSeconds(data []byte) (time.Duration, error) {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return 0, fmt.Errorf("%s is no schedule: a number of seconds, a crontab as \"*/5 * * * *\", or an object", data)
	}
	if math.Abs(seconds) > math.MaxInt64/1e9 {
		return 0, fmt.Errorf("%v seconds are too long: an interval is at most 292 years", seconds)
	}
	return time.Duration(math.RoundToEven(seconds*1e6)) * time.Microsecond, nil
}

func (f *crontabFields) crontab(zone *time.Location) (*Crontab, error) {
	zone, err := zoneOf(f.Timezone, zone)
	if err != nil {
		return nil, err
	}
	c, err := NewCrontab(Fields{
		Minute: f.Minute.spec(), Hour: f.Hour.spec(), DayOfMonth: f.DayOfMonth.spec(),
		MonthOfYear: f.MonthOfYear.spec(), DayOfWeek: f.DayOfWeek.spec(),
	}, zone)
	if err != nil {
		return nil, err
	}
	c.shown = Fields{
		Minute: f.Minute.shown(), Hour: f.Hour.shown(), DayOfMonth: f.DayOfMonth.shown(),
		MonthOfYear: f.MonthOfYear.shown(), DayOfWeek: f.DayOfWeek.shown(),
	}
	return c, nil
}

// cronspec is a field as Python has it: text, a number, or a list of numbers.
type cronspec struct {
	text string
	list bool
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *cronspec) UnmarshalJSON(data []byte) error {
	var number int
	var numbers []int
	switch {
	case string(data) == "null":
	case json.Unmarshal(data, &c.text) == nil:
		if c.text == "" {
			return errors.New("a field of a crontab is empty: * is for all")
		}
	case json.Unmarshal(data, &number) == nil:
		c.text = fmt.Sprint(number)
	case json.Unmarshal(data, &numbers) == nil:
		if len(numbers) == 0 {
			return errors.New("a field of a crontab is an empty list: it would never be due")
		}
		c.text, c.list = strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ","), "[]"), true
	default:
		return fmt.Errorf("%s is no field of a crontab: it is a number, a list of numbers, or text", data)
	}
	return nil
}

// spec is the field as [Fields] has it.
func (c *cronspec) spec() string {
	if c.text == "" {
		return "*"
	}
	return c.text
}

// shown is the field as Celery prints it.
func (c *cronspec) shown() string {
	if c.list {
		return "[" + strings.ReplaceAll(c.text, ",", ", ") + "]"
	}
	return c.spec()
}
