package schedule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/beat/schedule"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]struct{ shown, written string }{
		`30`:                {"<freq: 30.00 seconds>", `30`},
		`0.5`:               {"<freq: now>", `0.5`},
		`5400.0`:            {"<freq: 1.50 hours>", `5400`},
		`60`:                {"<freq: 1.00 minute>", `60`},
		`{"every": 172800}`: {"<freq: 2.00 days>", `172800`},
		`{"every": 7200, "relative": true}`: {
			"<freq: 2.00 hours>", `{"every":7200,"relative":true,"timezone":"Europe/Berlin"}`,
		},
		`{"every": 7200, "relative": true, "timezone": "UTC"}`: {
			"<freq: 2.00 hours>", `{"every":7200,"relative":true,"timezone":"UTC"}`,
		},
		`"*/5 * 1 jan mon-fri"`: {
			"<crontab: */5 * 1 jan mon-fri (m/h/dM/MY/d)>",
			`{"crontab":{"minute":"*/5","hour":"*","day_of_week":"mon-fri","day_of_month":"1","month_of_year":"jan","timezone":"Europe/Berlin"}}`,
		},
		`{"crontab": {"minute": [0, 30], "hour": 7, "timezone": "Asia/Tokyo"}}`: {
			"<crontab: [0, 30] 7 * * * (m/h/dM/MY/d)>",
			`{"crontab":{"minute":"0,30","hour":"7","day_of_week":"*","day_of_month":"*","month_of_year":"*","timezone":"Asia/Tokyo"}}`,
		},
		`{"crontab": {"hour": "4", "minute": null, "timezone": null}}`: {
			"<crontab: * 4 * * * (m/h/dM/MY/d)>",
			`{"crontab":{"minute":"*","hour":"4","day_of_week":"*","day_of_month":"*","month_of_year":"*","timezone":"Europe/Berlin"}}`,
		},
		`{"solar": {"event": "sunset", "lat": -37.81753, "lon": 144}}`: {
			"<solar: sunset at latitude -37.81753, longitude: 144>", `{"solar":{"event":"sunset","lat":-37.81753,"lon":144}}`,
		},
		`{"clocked": "2027-01-01T01:00:00.5+01:00"}`: {
			"<clocked: 2027-01-01 00:00:00.500000+00:00>", `{"clocked":"2027-01-01T00:00:00.5Z"}`,
		},
	} {
		s, err := schedule.Decode([]byte(text), berlin)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		written, err := json.Marshal(s)
		if err != nil || s.String() != want.shown || string(written) != want.written {
			t.Errorf("%s is %s, written %s (%v)", text, s, written, err)
		}
	}
}

func TestDecodeTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:     "no schedule",
		`null`: "no schedule",
		`true`: "true is no schedule",
		`[1]`:  "[1] is no schedule",
		`0`:    "longer than 0 seconds",
		`-1`:   "longer than 0 seconds",
		`1e-7`: "longer than 0 seconds",
		`1e11`: "at most 292 years",
		`{}`:   "one of every, crontab, solar and clocked",
		`{"every": 1, "clocked": "2027-01-01T00:00:00Z"}`:             "one of every, crontab, solar and clocked",
		`{"relative": true, "crontab": {}}`:                           "only an interval can be relative",
		`{"evry": 3}`:                                                 `unknown field "evry"`,
		`{"every": "3"}`:                                              `"3" is no schedule`,
		`{"every": 3, "relative": true, "timezone": "Europe/Berlim"}`: "timezone: unknown time zone Europe/Berlim",
		`{"crontab": {"minutes": "*"}}`:                               `unknown field "minutes"`,
		`{"crontab": {"minute": ""}}`:                                 "* is for all",
		`{"crontab": {"minute": []}}`:                                 "an empty list",
		`{"crontab": {"minute": [1.5]}}`:                              "[1.5] is no field of a crontab",
		`{"crontab": {"minute": "1,,2"}}`:                             `minute "1,,2": there is nothing between two commas`,
		`{"crontab": {"hour": [7, 24]}}`:                              `hour "7,24", part "24": 24 is not between 0 and 23`,
		`{"crontab": {"day_of_week": "0-7"}}`:                         `7 is not between 0 and 6; Sunday is 0`,
		`{"crontab": {"minute": "5/15"}}`:                             "a step needs a range before it: 5-59/15",
		`{"crontab": {"minute": "1-5/0"}}`:                            "a step of 0",
		`{"crontab": {"minute": "*/x"}}`:                              `the step "x" is not a number`,
		`{"crontab": {"minute": "*/"}}`:                               "no number after /",
		`{"crontab": {"minute": -1}}`:                                 "cannot be negative",
		`{"crontab": {"day_of_month": "L"}}`:                          `"L" is not a number`,
		`{"crontab": {"day_of_month": 30, "month_of_year": "feb"}}`:   `day_of_month "30" never occurs in month_of_year "feb"`,
		`{"crontab": {"timezone": "Mars/Olympus"}}`:                   "timezone: unknown time zone Mars/Olympus",
		`"@daily"`: `"@daily" has 1 fields: a crontab has five`,
		`{"solar": {"event": "sunset", "lat": 1}}`:             "solar needs event, lat and lon",
		`{"solar": {"event": "noon", "lat": 1, "lon": 1}}`:     `event "noon" is not one of dawn_astronomical,`,
		`{"solar": {"event": "sunset", "lat": 91, "lon": 1}}`:  "latitude 91 is not between -90 and 90",
		`{"solar": {"event": "sunset", "lat": 1, "lon": 181}}`: "longitude 181 is not between -180 and 180",
		`{"clocked": "0000-01-01T00:00:00Z"}`:                  "years from 1 to 9999",
		`{"clocked": "tomorrow"}`:                              "tomorrow",
	} {
		s, err := schedule.Decode([]byte(text), nil)
		if err == nil {
			t.Errorf("%s is %v", text, s)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func ExampleDue() {
	s, err := schedule.ParseCrontab("0 7-9 * * mon-fri", time.UTC)
	if err != nil {
		fmt.Println(err)
		return
	}
	friday := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	slot, next := schedule.Due(s, friday, friday.Add(62*time.Minute), schedule.NoDeadline)
	fmt.Println(slot)
	fmt.Println(next)
	// Output:
	// 2026-11-27 09:00:00 +0000 UTC
	// 2026-11-30 07:00:00 +0000 UTC
}
