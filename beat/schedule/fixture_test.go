package schedule

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
	"time"
)

// fixture is what Celery 5.7 answered; its "about" says what the rows are.
type fixture struct {
	Cron struct {
		Plain, DST, Calendar, Deadline []json.RawMessage
		SecondPass                     []json.RawMessage `json:"second_pass"`
	}
	Interval, Syntax, Never, Solar []json.RawMessage
}

func readFixture(t *testing.T) *fixture {
	t.Helper()
	data, err := os.ReadFile("testdata/beat-crontab.json")
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return &f
}

// columns reads a row.
func columns(t *testing.T, row json.RawMessage, to ...any) {
	t.Helper()
	if err := json.Unmarshal(row, &to); err != nil {
		t.Fatalf("%s: %v", row, err)
	}
}

var zones = map[string]*time.Location{}

func zoneNamed(t *testing.T, name string) *time.Location {
	t.Helper()
	if zones[name] == nil {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones[name] = zone
	}
	return zones[name]
}

// answer is what Celery's is_due says: whether it is due, and when to look again.
func answer(s Schedule, last, now time.Time, deadline time.Duration) string {
	slot, next := Due(s, last, now, deadline)
	return fmt.Sprintf("due %v, next %s", !slot.IsZero(), next.Format(time.RFC3339Nano))
}

// celerys is the answer of a row.
func celerys(due int, now time.Time, seconds float64) string {
	next := now.Add(time.Duration(math.Round(seconds*1e6)) * time.Microsecond)
	return fmt.Sprintf("due %v, next %s", due == 1, next.Format(time.RFC3339Nano))
}

type cronRow struct {
	crontab   *Crontab
	last, now time.Time
	due       int
	seconds   float64
	deadline  time.Duration
}

func cronRowOf(t *testing.T, row json.RawMessage) cronRow {
	t.Helper()
	var line, zone string
	deadline := -1.0
	r := cronRow{}
	columns(t, row, &line, &zone, &r.last, &r.now, &r.due, &r.seconds, &deadline)
	var err error
	if r.crontab, err = ParseCrontab(line, zoneNamed(t, zone)); err != nil {
		t.Fatalf("%s: %v", row, err)
	}
	r.deadline = time.Duration(deadline * 1e9)
	return r
}

func TestCrontabIsDueAsInCelery(t *testing.T) {
	f := readFixture(t)
	for name, rows := range map[string][]json.RawMessage{
		"plain": f.Cron.Plain, "calendar": f.Cron.Calendar, "deadline": f.Cron.Deadline,
	} {
		t.Run(name, func(t *testing.T) {
			for _, row := range rows {
				r := cronRowOf(t, row)
				if got, want := answer(r.crontab, r.last, r.now, r.deadline), celerys(r.due, r.now, r.seconds); got != want {
					t.Errorf("%s:\n got %s\nwant %s", row, got, want)
				}
			}
		})
	}
}

// While an hour is repeated Celery is silent, or due again and again; what differs is what we want instead.
func TestCrontabIsDueInRepeatedHours(t *testing.T) {
	f := readFixture(t)
	for name, test := range map[string]struct {
		rows   []json.RawMessage
		differ int
	}{"dst": {f.Cron.DST, 70}, "second_pass": {f.Cron.SecondPass, 93}} {
		t.Run(name, func(t *testing.T) {
			differ := 0
			for _, row := range test.rows {
				r := cronRowOf(t, row)
				got, want := answer(r.crontab, r.last, r.now, r.deadline), celerys(r.due, r.now, r.seconds)
				if got == want {
					continue
				}
				differ++
				if ours := r.ours(); got != ours {
					t.Errorf("%s:\n  got %s\n want %s\nCelery %s", row, got, ours, want)
				}
			}
			if differ != test.differ {
				t.Errorf("%d rows differ, not %d", differ, test.differ)
			}
		})
	}
}

// ours looks at each minute: due is what the fields match and, if they do not match every hour, what
// the clock shows for the first time.
func (r *cronRow) ours() string {
	var slot, next time.Time
	for at := r.last.Truncate(time.Minute).Add(time.Minute); next.IsZero(); at = at.Add(time.Minute) {
		switch wall, c := at.In(r.crontab.zone), r.crontab; {
		case !c.minutes.has(wall.Minute()) || !c.hours.has(wall.Hour()) || !c.days.has(wall.Day()) ||
			!c.months.has(int(wall.Month())) || !c.weekdays.has(int(wall.Weekday())):
		case c.hours != everyHour && shownBefore(wall):
		case at.After(r.now):
			next = at
		default:
			slot = at
		}
	}
	return fmt.Sprintf("due %v, next %s", !slot.IsZero(), next.UTC().Format(time.RFC3339Nano))
}

// shownBefore tells whether the clock has shown a minute in the three hours before.
func shownBefore(wall time.Time) bool {
	for minutes := range 3 * 60 {
		if wall.Add(-time.Duration(minutes+1)*time.Minute).Format("02 15:04") == wall.Format("02 15:04") {
			return true
		}
	}
	return false
}

func TestIntervalIsDueAsInCelery(t *testing.T) {
	for _, row := range readFixture(t).Interval {
		var every, seconds float64
		var relative, due int
		var zone string
		var last, now time.Time
		columns(t, row, &every, &relative, &zone, &last, &now, &due, &seconds)
		interval := time.Duration(every * 1e9)
		s, err := NewEvery(interval)
		if relative == 1 {
			s, err = NewRelative(interval, zoneNamed(t, zone))
		}
		if err != nil {
			t.Fatalf("%s: %v", row, err)
		}
		if relative == 1 && every < 1 { // Celery rounds such times down to the second, before last
			if next := s.Next(last); !next.Equal(last.Add(interval)) {
				t.Errorf("%s: next at %v", row, next)
			}
			continue
		}
		slot, next := Due(s, last, now, NoDeadline)
		if slot.IsZero() == (due == 1) {
			t.Errorf("%s: due at %v", row, slot)
		}
		want := now.Add(time.Duration(math.Round(seconds*1e6)) * time.Microsecond)
		if due == 1 {
			if relative == 1 {
				next = s.Next(now) // Celery goes on from when the task was sent
			} else {
				want = now.Add(interval - now.Sub(last)%interval) // Celery drifts
			}
		}
		if !next.Equal(want) {
			t.Errorf("%s: next at %v, not at %v", row, next, want)
		}
	}
}

func TestFieldsAreReadAsInCelery(t *testing.T) {
	for _, row := range readFixture(t).Syntax {
		var name, text string
		var want json.RawMessage
		columns(t, row, &name, &text, &want)
		got := "an error"
		if members, err := fieldNamed(t, name).parse(text); err == nil {
			got = fmt.Sprint(members.members())
		}
		expected := "an error"
		var numbers []int
		if json.Unmarshal(want, &numbers) == nil {
			expected = fmt.Sprint(numbers)
		}
		if got != expected {
			t.Errorf("%s %q is %s, not %s", name, text, got, want)
		}
	}
}

func fieldNamed(t *testing.T, name string) field {
	t.Helper()
	for _, f := range []field{minuteField, hourField, dayOfWeekField, dayOfMonthField, monthOfYearField} {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no field %s", name)
	return field{}
}

func (s set) members() []int {
	var numbers []int
	for n := range 64 {
		if s.has(n) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func TestDaysThatNeverCome(t *testing.T) {
	for _, row := range readFixture(t).Never {
		var days, months string
		var want *string
		columns(t, row, &days, &months, &want)
		_, err := NewCrontab(Fields{"0", "0", days, months, "*"}, nil)
		if (err != nil) != (want != nil) {
			t.Errorf("%s: %v", row, err)
		}
	}
}

func TestSolarEventsAreThoseOfPyEphem(t *testing.T) {
	worst := time.Duration(0)
	for _, row := range readFixture(t).Solar {
		var event string
		var latitude, longitude float64
		var last, want time.Time
		columns(t, row, &event, &latitude, &longitude, &last, &want)
		s, err := NewSolar(event, latitude, longitude)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Next(last)
		worst = max(worst, got.Sub(want).Abs())
		allowed := 3 * time.Second
		if want.Sub(last) > 48*time.Hour { // a night that is only just dark: the sun hardly moves up or down
			allowed = time.Minute
		}
		if got.Sub(want).Abs() > allowed {
			t.Errorf("%s: %v", row, got)
		}
		if again := s.Next(got); again.Sub(got) < 20*time.Hour {
			t.Errorf("%s: %v, and again %v", row, got, again)
		}
	}
	t.Log("at most", worst, "off")
}
