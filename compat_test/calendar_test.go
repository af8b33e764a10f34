package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	calendar "github.com/apium/apium/beat/schedule"
)

// calendarRow is a question to both.
type calendarRow struct {
	schedule  string // as calendar.Decode reads it, a crontab as a line
	zone      *time.Location
	last, now time.Time
	deadline  *int
}

// MarshalJSON writes a row for next.py.
func (r *calendarRow) MarshalJSON() ([]byte, error) {
	what := json.RawMessage(r.schedule)
	if strings.HasPrefix(r.schedule, `"`) {
		what = json.RawMessage(`{"crontab": ` + r.schedule + `}`)
	}
	const layout = "2006-01-02T15:04:05.000000+00:00"
	return json.Marshal([]any{what, r.zone.String(), r.last.Format(layout), r.now.Format(layout), r.deadline})
}

// TestCalendarIsCelerys asks Celery's schedules and ours the same random questions, half of them about the
// days of clock changes.
func TestCalendarIsCelerys(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	rows := make([]*calendarRow, 4000)
	for i := range rows {
		rows[i] = randomRow(t, random)
	}
	answers := celerysAnswers(t, rows)
	excluded := 0
	for i, r := range rows {
		s, err := calendar.Decode([]byte(r.schedule), r.zone)
		if err != nil {
			t.Fatalf("%s: %v", r.schedule, err)
		}
		theirs := answers[i]
		first := r.now.Add(theirs.remaining)
		if _, ok := s.(*calendar.Crontab); ok && onPurpose(r, first, r.now.Add(theirs.next)) {
			excluded++
			continue
		}
		tolerance := time.Duration(0)
		if _, ok := s.(*calendar.Solar); ok {
			tolerance = 5 * time.Second
		}
		if got := s.Next(r.last); got.Sub(first).Abs() > tolerance {
			t.Errorf("%s in %s, last %v: due at %v, in Celery at %v", r.schedule, r.zone, r.last, got.UTC(), first)
		}
		if _, ok := s.(*calendar.Crontab); !ok {
			continue // intervals go on from the slot here, in Celery from when they were sent
		}
		deadline := calendar.NoDeadline
		if r.deadline != nil {
			deadline = time.Duration(*r.deadline) * time.Second
		}
		slot, next := calendar.Due(s, r.last, r.now, deadline)
		if slot.IsZero() == theirs.due || !next.Equal(r.now.Add(theirs.next)) {
			t.Errorf("%s in %s, last %v, now %v: due at %v, next %v; in Celery due %v, next %v", r.schedule, r.zone, r.last, r.now,
				slot, next, theirs.due, r.now.Add(theirs.next))
		}
	}
	t.Logf("%d rows, %d of them where we differ on purpose", len(rows), excluded)
	if excluded == 0 || excluded > len(rows)/4 {
		t.Error("these are not the questions that were meant")
	}
}

type calendarAnswer struct {
	due             bool
	next, remaining time.Duration
}

func celerysAnswers(t *testing.T, rows []*calendarRow) []calendarAnswer {
	t.Helper()
	var questions, stderr bytes.Buffer
	encoder := json.NewEncoder(&questions)
	for _, r := range rows {
		if err := encoder.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	a := app{venv: celery57, broker: "redis://localhost:6379/3"}
	cmd := exec.Command(a.python(), "next.py")
	cmd.Dir, cmd.Stdin, cmd.Stderr = periodicDir, &questions, &stderr
	cmd.Env = append(os.Environ(), a.env(t)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(stderr.String(), 2000))
	}
	answers := make([]calendarAnswer, 0, len(rows))
	for line := range strings.Lines(string(out)) {
		var due bool
		var next, remaining float64
		if err := json.Unmarshal([]byte(line), &[]any{&due, &next, &remaining}); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		answers = append(answers, calendarAnswer{due, microseconds(next), microseconds(remaining)})
	}
	if len(answers) != len(rows) {
		t.Fatalf("%d answers", len(answers))
	}
	return answers
}

func microseconds(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds*1e6)) * time.Microsecond
}

// onPurpose tells whether a crontab's row is one where we mean to differ. While an hour is repeated Celery's are
// silent, or due again and again. With a deadline, Celery does not see that a time that was skipped in spring has
// come an hour later; nor does it that such a time is still to come, where it looks for what comes next in that hour.
func onPurpose(r *calendarRow, first, next time.Time) bool {
	until := r.now
	for _, t := range []time.Time{first, next} {
		if t.After(until) {
			until = t
		}
	}
	for t := r.last.Add(-3 * time.Hour).In(r.zone); ; {
		_, end := t.ZoneBounds()
		if end.IsZero() || end.After(until) {
			return false
		}
		_, before := t.Zone()
		_, after := end.Zone()
		change := time.Duration(after-before) * time.Second
		if change > 0 && end.After(r.last) && end.Before(r.now) && (r.deadline != nil || r.now.Before(end.Add(change))) ||
			change < 0 && end.Add(-change).After(r.last) {
			return true
		}
		t = end
	}
}

var calendarZones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/St_Johns", "America/Santiago", "Australia/Lord_Howe",
	"Asia/Kathmandu", "Asia/Beirut", "Africa/Cairo", "Pacific/Auckland", "America/Havana",
}

func randomRow(t *testing.T, random *rand.Rand) *calendarRow {
	t.Helper()
	zone, err := time.LoadLocation(calendarZones[random.IntN(len(calendarZones))])
	if err != nil {
		t.Fatal(err)
	}
	r := &calendarRow{zone: zone, schedule: randomSchedule(random)}
	r.last = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(5*365*24*3600)) * time.Second)
	if _, change := r.last.In(zone).ZoneBounds(); random.IntN(2) == 0 && !change.IsZero() {
		r.last = change.UTC().Add(time.Duration(random.IntN(30*3600)-27*3600) * time.Second)
	}
	if random.IntN(3) == 0 {
		r.last = r.last.Add(time.Duration(random.IntN(1e6)) * time.Microsecond)
	}
	r.now = r.last.Add(time.Duration(random.Float64() * random.Float64() * random.Float64() * float64(100*time.Hour))).Truncate(time.Microsecond)
	if random.IntN(4) == 0 {
		seconds := []int{0, 1, 60, 3600, 86400}[random.IntN(5)]
		r.deadline = &seconds
	}
	return r
}

func randomSchedule(random *rand.Rand) string {
	switch random.IntN(10) {
	case 0, 1:
		seconds := []float64{1, 7, 59, 60, 61, 90, 300, 1800, 3600, 5400, 7200, 9000, 43200, 86400, 90000, 172800, 604800}[random.IntN(17)]
		return fmt.Sprintf(`{"every": %v, "relative": true}`, seconds)
	case 2:
		return fmt.Sprintf(`{"every": %v}`, float64(1+random.IntN(1e6))/4)
	case 3:
		event := []string{"sunrise", "sunset", "solar_noon", "dawn_civil", "dusk_nautical", "dusk_astronomical"}[random.IntN(6)]
		return fmt.Sprintf(`{"solar": {"event": %q, "lat": %v, "lon": %v}}`, event, random.IntN(91)-45, random.IntN(361)-180)
	}
	one := func(of ...string) string {
		if random.IntN(3) == 0 {
			return "*"
		}
		return of[random.IntN(len(of))]
	}
	n := func(from, to int) string { return fmt.Sprint(from + random.IntN(to-from+1)) }
	return fmt.Sprintf("%q", strings.Join([]string{
		one(n(0, 59), n(0, 59), "*/5", "*/"+n(1, 59), n(0, 59)+"-"+n(0, 59), n(0, 59)+","+n(0, 59), n(0, 59)+"-"+n(0, 59)+"/"+n(1, 9)),
		one(n(0, 23), n(0, 3), "*/"+n(1, 23), n(0, 23)+"-"+n(0, 23), n(0, 4)+","+n(0, 23)),
		one(n(1, 28), "*", "*", "*/"+n(1, 9), n(1, 31)+"-"+n(1, 28), "29,"+n(1, 31)),
		one("*", "*", n(1, 12)+"-"+n(1, 12), "feb,oct", "mar-apr", "*/"+n(1, 6)),
		one("*", n(0, 6), "mon-fri", "sat-sun", n(0, 6)+"-"+n(0, 6), "Sunday", n(0, 6)+","+n(0, 6)),
	}, " "))
}
