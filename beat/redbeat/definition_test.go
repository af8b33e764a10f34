package redbeat

import (
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
)

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// What RedBeat 2.4.2 has stored is read as RedBeat reads it.
func TestEntry(t *testing.T) {
	t.Parallel()
	const interval = `{"__type__": "interval", "every": 300.0, "relative": false}`
	const ran = `{"last_run_at": {"__type__": "datetime", "year": 2026, "month": 11, "day": 29, "hour": 10, "minute": 51, "second": 49, "microsecond": 273412, "timezone": "Europe/Berlin"}, "total_run_count": 4}`
	last := time.Date(2026, 11, 29, 9, 51, 49, 273412000, time.UTC)
	for name, c := range map[string]struct {
		definition, meta      string
		args, kwargs, options string
		lastRun, since        time.Time
		count                 int
		next                  time.Time
	}{
		"st": {
			definition: `{"name": "st", "task": "t.st", "args": [1], "kwargs": {}, "options": {"queue": "q", "expires": 30}, "schedule": ` + interval + `, "enabled": true}`,
			meta:       ran, args: `[1]`, kwargs: `{}`, options: `{"queue": "q", "expires": 30}`, lastRun: last, count: 4,
			next: last.Add(300 * time.Second),
		},
		"cr2": {
			definition: `{"name": "cr2", "task": "t.cr2", "args": null, "kwargs": {}, "options": {}, "schedule": {"__type__": "crontab", "minute": "0,30", "hour": [1, 2], "day_of_week": "mon-fri", "day_of_month": "*", "month_of_year": "*"}, "enabled": true}`,
			meta:       ran, kwargs: `{}`, options: `{}`, lastRun: last, count: 4,
			next: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
		},
		"rr": {
			definition: `{"name": "rr", "task": "t.rr", "schedule": {"__type__": "rrule", "freq": 6, "interval": 5, "wkst": null, "count": 3, "dtstart": 1795945873, "dtstart_tz": 0}}`,
			meta:       `{"last_run_at": {"__type__": "datetime", "year": 2026, "month": 11, "day": 29, "hour": 9, "minute": 51, "second": 14, "microsecond": 0}}`,
			lastRun:    time.Date(2026, 11, 29, 9, 51, 14, 0, time.UTC), next: time.Date(2026, 11, 29, 9, 51, 18, 0, time.UTC),
		},
		`ünï "q"`: {
			definition: `{"name": "\u00fcn\u00ef \"q\"", "task": "t.e", "args": null, "kwargs": {"a": {"__type__": "datetime", "year": 2027, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 5, "timezone": 3600.0}},
				"options": {"expires": {"__type__": "datetime", "year": 2027, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0, "timezone": "Europe/Berlin"}, "headers": {"__type__": "mine"}}, "schedule": ` + interval + `, "enabled": true}`,
			kwargs:  `{"a": {"__type__": "datetime", "__value__": "2027-01-01T00:00:00.000005+01:00"}}`,
			options: `{"expires": "2027-01-01T00:00:00+01:00", "headers": {"__type__": "mine"}}`,
			since:   never, next: never.Add(300 * time.Second),
		},
	} {
		e := entry(name, []byte(c.definition), []byte(c.meta), berlin(t))
		if e.Err != nil {
			t.Errorf("%s: %v", name, e.Err)
			continue
		}
		if string(e.Args) != c.args || string(e.Kwargs) != c.kwargs || string(e.Options) != c.options {
			t.Errorf("%s: args %s, kwargs %s, options %s", name, e.Args, e.Kwargs, e.Options)
		}
		if !e.LastRunAt.Equal(c.lastRun) || !e.Since.Equal(c.since) || e.TotalRunCount != c.count {
			t.Errorf("%s: ran at %s, %d times; since %s", name, e.LastRunAt, e.TotalRunCount, e.Since)
		}
		from := e.LastRunAt
		if from.IsZero() {
			from = e.Since
		}
		if next := e.Schedule.Next(from); !next.Equal(c.next) {
			t.Errorf("%s: due at %s, want %s", name, next, c.next)
		}
	}
	disabled := `{"name": "off", "task": "t", "schedule": ` + interval + `, "enabled": false}`
	if e := entry("off", []byte(disabled), nil, time.UTC); e != nil {
		t.Errorf("what is disabled is an entry: %+v", e)
	}
}

// What cannot be used says why.
func TestUnusable(t *testing.T) {
	t.Parallel()
	const rest = `"name": "x", "task": "t", `
	for definition, want := range map[string]string{
		`{`: "the definition cannot be read",
		`{"name": "y", "task": "t", "schedule": {"__type__": "interval", "every": 1, "relative": false}}`: `the definition is that of "y"`,
		`{"name": "x", "schedule": {"__type__": "interval", "every": 1}}`:                                 "names no task",
		`{` + rest + `"schedule": 5}`:                                                                                                             "5 is no interval, crontab or rrule",
		`{` + rest + `"schedule": {"__type__": "interval", "every": 0}}`:                                                                          "must be longer than 0",
		`{` + rest + `"schedule": {"__type__": "interval"}}`:                                                                                      "schedule",
		`{` + rest + `"schedule": {"__type__": "crontab", "minute": "61"}}`:                                                                       "61",
		`{` + rest + `"schedule": {"__type__": "rrule", "freq": "DAILY"}}`:                                                                        "no dtstart",
		`{` + rest + `"schedule": {"__type__": "rrule", "freq": 9, "dtstart": 1}}`:                                                                "9 is not between 0",
		`{` + rest + `"args": {}, "schedule": {"__type__": "interval", "every": 1}}`:                                                              "args: they are no list",
		`{` + rest + `"options": [], "schedule": {"__type__": "interval", "every": 1}}`:                                                           "options: they are no object",
		`{` + rest + `"args": [{"__type__": "crontab"}], "schedule": {"__type__": "interval", "every": 1}}`:                                       "a schedule (crontab) cannot be in a message",
		`{` + rest + `"args": [{"__type__": "datetime", "year": 2026, "month": 13, "day": 1}], "schedule": {"__type__": "interval", "every": 1}}`: "is no date",
	} {
		e := entry("x", []byte(definition), nil, time.UTC)
		if e == nil || e.Err == nil || !strings.Contains(e.Err.Error(), want) {
			t.Errorf("%s: %+v, want an error with %q", definition, e, want)
		}
	}
	good := `{` + rest + `"schedule": {"__type__": "interval", "every": 1, "relative": false}}`
	if e := entry("x", []byte(good), []byte(`{"last_run_at": 5}`), time.UTC); e.Err == nil || !strings.Contains(e.Err.Error(), "meta data") {
		t.Errorf("meta data that cannot be read: %v", e.Err)
	}
}

// Dates are written as RedBeat writes them, and the hour that comes twice in autumn stays what it was.
func TestMeta(t *testing.T) {
	t.Parallel()
	zone := berlin(t)
	at := time.Date(2026, 11, 29, 9, 51, 49, 283319000, time.UTC)
	want := `{"last_run_at": {"__type__": "datetime", "year": 2026, "month": 11, "day": 29, "hour": 10, "minute": 51, "second": 49, "microsecond": 283319, "timezone": "Europe/Berlin"}, "total_run_count": 1}`
	if got := metaOf(at, 1, zone); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	autumn := time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)
	for minutes := 0; minutes < 180; minutes += 15 {
		at := autumn.Add(time.Duration(minutes) * time.Minute)
		var e beat.Entry
		if err := fillMeta(&e, []byte(metaOf(at, 1, zone))); err != nil || !e.LastRunAt.Equal(at) {
			t.Errorf("%s became %s, %v", at, e.LastRunAt, err)
		}
	}
}

// Entries of beat_schedule are stored as RedBeat stores them.
func TestEncode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schedule, args, options, want string }{
		{`2.5`, `[1]`, `{"queue": "q", "expires": 30}`, `{"name": "st", "task": "t.st", "args": [1], "kwargs": {}, "options": {"queue": "q", "expires": 30}, "schedule": {"__type__": "interval", "every": 2.5, "relative": false}, "enabled": true}`},
		{`{"every": 3600, "relative": true}`, ``, ``, `{"name": "st", "task": "t.st", "args": null, "kwargs": {}, "options": {}, "schedule": {"__type__": "interval", "every": 3600.0, "relative": true}, "enabled": true}`},
		{`{"crontab": {"minute": "*/1"}}`, ``, ``, `{"name": "st", "task": "t.st", "args": null, "kwargs": {}, "options": {}, "schedule": {"__type__": "crontab", "minute": "*/1", "hour": "*", "day_of_week": "*", "day_of_month": "*", "month_of_year": "*"}, "enabled": true}`},
		{`60`, `[{"__type__": "datetime", "__value__": "2027-01-01T00:00:00+00:00"}]`, ``, `{"name": "st", "task": "t.st", "args": [{"__type__": "datetime", "year": 2027, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0, "timezone": "UTC"}], "kwargs": {}, "options": {}, "schedule": {"__type__": "interval", "every": 60.0, "relative": false}, "enabled": true}`},
	} {
		e := static(t, "st", c.schedule)
		e.Args, e.Options = []byte(c.args), []byte(c.options)
		if c.args == "" {
			e.Args = nil
		}
		if c.options == "" {
			e.Options = nil
		}
		got, err := encode(e, berlin(t))
		if err != nil || string(got) != c.want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, c.want)
		}
		if read := entry("st", got, nil, berlin(t)); read.Err != nil {
			t.Errorf("%s: %v", got, read.Err)
		}
	}
	for _, unknown := range []string{`{"solar": {"event": "sunset", "lat": 52.5, "lon": 13.4}}`, `{"crontab": {"timezone": "Asia/Tokyo"}}`} {
		if got, err := encode(static(t, "x", unknown), berlin(t)); err == nil {
			t.Errorf("RedBeat could store %s: %s", unknown, got)
		}
	}
}

func static(t *testing.T, name, text string) *beat.Entry {
	t.Helper()
	s, err := schedule.Decode([]byte(text), berlin(t))
	if err != nil {
		t.Fatal(err)
	}
	return &beat.Entry{Name: name, Task: "t." + name, Schedule: s}
}
