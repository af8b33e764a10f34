package schedule

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzField reads any text as each field: a field that is accepted has members, all in its range.
func FuzzField(f *testing.F) {
	for _, text := range []string{"*", "*/15", "1-5/2", "fri-mon", "1,2,22-2", " 1", "١-٥", "1_0", "*/0", "1/2", "-1", "may-", "\xff-\xff/9", "99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, field := range []field{minuteField, hourField, dayOfWeekField, dayOfMonthField, monthOfYearField} {
			members, err := field.parse(text)
			if err != nil {
				continue
			}
			if members == 0 || members.from(0) < field.min || members.from(field.max+1) < 64 {
				t.Errorf("%s %q: %v", field.name, text, members.members())
			}
		}
	})
}

// FuzzDecode reads any text as a schedule. What is accepted is written and read as the same, and its times
// go on.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`30`, `0.5`, `1e9`, `{"every": 7200.5, "relative": true, "timezone": "Europe/Berlin"}`, `"30 2 29 feb *"`,
		`{"crontab": {"minute": [0, 30], "hour": 7, "timezone": "Australia/Lord_Howe"}}`, `{"clocked": "2027-01-01T01:00:00.5+01:00"}`,
		`{"solar": {"event": "dawn_civil", "lat": 66.6, "lon": -179.9}}`, `"@daily"`, `[`, `{"every": 1e400}`,
		`{"CloCked":"0000-01-01T0:00:00+01:00"}`,
	} {
		f.Add(text, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := Decode([]byte(text), nil)
		if err != nil {
			return
		}
		written, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := Decode(written, nil)
		if err != nil {
			t.Fatalf("%q, written %s: %v", text, written, err)
		}
		last := time.Unix(unix%(1<<37), 0) // until the year 6325, and before 0
		for range 3 {
			next := s.Next(last)
			if !again.Next(last).Equal(next) {
				t.Errorf("%q, written %s, is due at %v, not at %v", text, written, again.Next(last), next)
			}
			if next.IsZero() {
				return
			}
			if !next.After(last) {
				t.Fatalf("%q is due at %v after %v", text, next, last)
			}
			last = next
		}
	})
}
