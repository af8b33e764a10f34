package redbeat

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/apium/apium/protocol/pyjson"
)

// recurrence is RedBeat's schedule rrule: a rule of iCalendar, as dateutil reads it.
type recurrence struct {
	option rrule.ROption
	text   string
}

// storedRule is an rrule as RedBeat stores it. What may be a number or a list is left as it is.
type storedRule struct {
	Freq       json.RawMessage `json:"freq"`
	Dtstart    *float64        `json:"dtstart"` // UTC seconds
	DtstartTZ  float64         `json:"dtstart_tz"`
	Until      *float64        `json:"until"`
	UntilTZ    float64         `json:"until_tz"`
	Interval   *int            `json:"interval"`
	Wkst       json.RawMessage `json:"wkst"`
	Count      *int            `json:"count"`
	Bysetpos   json.RawMessage `json:"bysetpos"`
	Bymonth    json.RawMessage `json:"bymonth"`
	Bymonthday json.RawMessage `json:"bymonthday"`
	Byyearday  json.RawMessage `json:"byyearday"`
	Byeaster   json.RawMessage `json:"byeaster"`
	Byweekno   json.RawMessage `json:"byweekno"`
	Byweekday  json.RawMessage `json:"byweekday"`
	Byhour     json.RawMessage `json:"byhour"`
	Byminute   json.RawMessage `json:"byminute"`
	Bysecond   json.RawMessage `json:"bysecond"`
}

// parseRule reads an rrule.
func parseRule(raw []byte) (*recurrence, error) {
	var s storedRule
	if err := pyjson.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("rrule: %w", err)
	}
	r := &recurrence{text: fmt.Sprintf("<rrule: %s>", raw)}
	if s.Dtstart == nil {
		return nil, errors.New("rrule: it has no dtstart, so that its times would be others at each look")
	}
	zone := time.FixedZone("", int(s.DtstartTZ*60))
	r.option.Dtstart = time.Unix(int64(*s.Dtstart), 0).In(zone)
	if s.Until != nil {
		r.option.Until = time.Unix(int64(*s.Until), 0).In(zone)
	}
	if s.Interval != nil {
		r.option.Interval = *s.Interval
	}
	if s.Count != nil {
		r.option.Count = *s.Count
		if *s.Count <= 0 {
			return nil, fmt.Errorf("rrule: count is %d", *s.Count)
		}
	}
	if err := s.fill(&r.option); err != nil {
		return nil, fmt.Errorf("rrule: %w", err)
	}
	if _, err := rrule.NewRRule(r.option); err != nil {
		return nil, fmt.Errorf("rrule: %w", err)
	}
	return r, nil
}

// fill reads what may be written in several ways.
func (s *storedRule) fill(o *rrule.ROption) (err error) {
	if o.Freq, err = frequency(s.Freq); err != nil {
		return fmt.Errorf("freq: %w", err)
	}
	if start, err := weekdays(s.Wkst); err != nil {
		return fmt.Errorf("wkst: %w", err)
	} else if len(start) > 0 {
		o.Wkst = start[0]
	}
	if o.Byweekday, err = weekdays(s.Byweekday); err != nil {
		return fmt.Errorf("byweekday: %w", err)
	}
	for name, list := range map[string]struct {
		raw json.RawMessage
		dst *[]int
	}{
		"bysetpos": {s.Bysetpos, &o.Bysetpos}, "bymonth": {s.Bymonth, &o.Bymonth}, "bymonthday": {s.Bymonthday, &o.Bymonthday},
		"byyearday": {s.Byyearday, &o.Byyearday}, "byeaster": {s.Byeaster, &o.Byeaster}, "byweekno": {s.Byweekno, &o.Byweekno},
		"byhour": {s.Byhour, &o.Byhour}, "byminute": {s.Byminute, &o.Byminute}, "bysecond": {s.Bysecond, &o.Bysecond},
	} {
		if *list.dst, err = numbers(list.raw); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// frequency reads a number from 0, yearly, to 6, secondly, or the word.
func frequency(raw json.RawMessage) (rrule.Frequency, error) {
	var number int
	if err := pyjson.Unmarshal(raw, &number); err == nil {
		if number < int(rrule.YEARLY) || number > int(rrule.SECONDLY) {
			return 0, fmt.Errorf("%d is not between 0, yearly, and 6, secondly", number)
		}
		return rrule.Frequency(number), nil
	}
	word, err := pyjson.Unquote(raw)
	if err != nil {
		return 0, fmt.Errorf("%s is no number from 0, yearly, to 6, secondly", raw)
	}
	return rrule.StrToFreq(word)
}

// numbers reads null, a number, or a list of numbers.
func numbers(raw json.RawMessage) ([]int, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var one int
	if err := pyjson.Unmarshal(raw, &one); err == nil {
		return []int{one}, nil
	}
	var list []int
	err := pyjson.Unmarshal(raw, &list)
	return list, err
}

// weekdays reads null, a weekday, or a list of weekdays; these are numbers, from 0, Monday, on, or
// objects that RedBeat makes of dateutil's.
func weekdays(raw json.RawMessage) ([]rrule.Weekday, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	list := [][]byte{raw}
	if pyjson.Kind(raw) == '[' {
		list = pyjson.Elements(raw)
	}
	days := make([]rrule.Weekday, len(list))
	for i, raw := range list {
		var day struct {
			Wkday int `json:"wkday"`
			N     int `json:"n"`
		}
		var dst any = &day.Wkday
		if pyjson.Kind(raw) == '{' {
			dst = &day
		}
		if err := pyjson.Unmarshal(raw, dst); err != nil {
			return nil, err
		}
		if day.Wkday < 0 || day.Wkday >= len(week) {
			return nil, fmt.Errorf("%d is not between 0, Monday, and 6, Sunday", day.Wkday)
		}
		days[i] = week[day.Wkday]
		if day.N != 0 {
			days[i] = days[i].Nth(day.N)
		}
	}
	return days, nil
}

var week = [...]rrule.Weekday{rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA, rrule.SU}

// lengths are those of the frequencies whose periods have one.
var lengths = map[rrule.Frequency]time.Duration{
	rrule.WEEKLY: 7 * 24 * time.Hour, rrule.DAILY: 24 * time.Hour,
	rrule.HOURLY: time.Hour, rrule.MINUTELY: time.Minute, rrule.SECONDLY: time.Second,
}

// Next is the first time of the rule after last; zero: there is none.
func (r *recurrence) Next(last time.Time) time.Time {
	next := r.near(last).After(last, false)
	if next.IsZero() {
		return next
	}
	return next.UTC()
}

// String is the schedule for logs.
func (r *recurrence) String() string { return r.text }

// near is a rule with the same times after last, until searched is over. It starts shortly before last where it
// can: all times since the start are gone through, and that of a rule for each second may be years ago.
func (r *recurrence) near(last time.Time) *rrule.RRule {
	o := r.option
	if end := last.Add(searched); o.Until.IsZero() && end.After(o.Dtstart.Add(searched)) {
		o.Until = end
	}
	if length, fixed := lengths[o.Freq]; fixed && o.Count == 0 {
		step := length * time.Duration(max(o.Interval, 1))
		// Two steps are spared, so that the period that last is in is whole.
		if ahead := last.Sub(o.Dtstart).Truncate(step) - 2*step; ahead > 0 {
			o.Dtstart = o.Dtstart.Add(ahead)
		}
	}
	rule, err := rrule.NewRRule(o)
	if err != nil { // parseRule has made one of it
		panic(err)
	}
	return rule
}

// searched is how far a time is looked for: the 29th of February comes again after 8 years at most, and on the
// same weekday after 40.
const searched = 41 * 365 * 24 * time.Hour
