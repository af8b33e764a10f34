package schedule_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apium/apium/beat/schedule"
)

// However long nobody asked, what is due is the last of the times that one would have come to step by
// step: any number of beats must find the same one.
func TestDueIsTheLastStep(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	lines := []string{
		"* * * * *", "*/30 * * * *", "30 2 * * *", "0 0 * * *", "7,37 0-23 * * *", "15 1,2,3 * * *", "0 4 29 2 *", "0 12 13 * fri",
		"59 23 31 12 *", "*/7 1-3 * * sun",
	}
	for _, name := range []string{"UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "Africa/Casablanca"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		var schedules []schedule.Schedule
		for _, line := range lines {
			s, err := schedule.ParseCrontab(line, zone)
			if err != nil {
				t.Fatal(err)
			}
			schedules = append(schedules, s)
		}
		for _, seconds := range []float64{0.3, 2.5, 60, 90, 5400, 7200, 9000, 86400, 90000, 172800} {
			interval := time.Duration(seconds * float64(time.Second))
			every, err := schedule.NewEvery(interval)
			relative, err2 := schedule.NewRelative(interval, zone)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			schedules = append(schedules, every, relative)
		}
		for _, s := range schedules {
			for range 20 {
				last := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(3 * 365 * 24 * int64(time.Hour))).Truncate(time.Microsecond))
				step := s.Next(last).Sub(last)
				now := last.Add(time.Duration(random.Float64() * random.Float64() * min(400*step.Hours(), 500*24) * float64(time.Hour)))
				slot, next := schedule.Due(s, last, now, schedule.NoDeadline)
				wantSlot, wantNext := time.Time{}, s.Next(last)
				for !wantNext.After(now) {
					wantSlot, wantNext = wantNext, s.Next(wantNext)
				}
				if !slot.Equal(wantSlot) || !next.Equal(wantNext) {
					t.Errorf("%s in %s, last %v, now %v:\n got %v, %v\nwant %v, %v", s, name, last, now, slot, next, wantSlot, wantNext)
				}
			}
		}
	}
}

func TestDueAfterAges(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 10, 0, 30, 0, time.UTC)
	for text, want := range map[string]string{
		`"* * * * *"`:                        "2026-11-29T10:00:00Z",
		`"0 0 29 2 *"`:                       "2024-02-29T00:00:00Z",
		`1`:                                  "2026-11-29T10:00:30Z",
		`{"every": 1, "relative": true}`:     "2026-11-29T10:00:30Z",
		`{"every": 1e-6, "relative": true}`:  "2026-11-29T10:00:30Z",
		`{"every": 3600, "relative": true}`:  "2026-11-29T10:00:00Z",
		`{"every": 86400, "relative": true}`: "2026-11-29T00:00:00Z",
		`{"solar": {"event": "solar_noon", "lat": 0, "lon": 0}}`: "2026-11-28T11:47:56Z",
	} {
		s, err := schedule.Decode([]byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, last := range []time.Time{{}, now.AddDate(-30, 0, 0), now.Truncate(24*time.Hour).AddDate(-8, 0, 0)} {
			began := time.Now()
			slot, next := schedule.Due(s, last, now, schedule.NoDeadline)
			if got := slot.Format(time.RFC3339); got != want || !next.After(now) {
				t.Errorf("%s after %v: %s, %v", text, last, got, next)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s after %v took %v", text, last, took)
			}
		}
	}
}

func TestAtIsDueOnce(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 1, 0, 0, 0, 500, time.UTC)
	s := schedule.NewAt(at)
	at = at.Truncate(time.Microsecond)
	if got := s.Next(at.Add(-1)); !got.Equal(at) {
		t.Error(got)
	}
	if got := s.Next(at); !got.IsZero() {
		t.Error(got)
	}
	slot, next := schedule.Due(s, at.AddDate(-1, 0, 0), at.AddDate(1, 0, 0), schedule.NoDeadline)
	if !slot.Equal(at) || !next.IsZero() {
		t.Error(slot, next)
	}
}

// On the poles the sun rises once a year, in either half of a day.
func TestSunAtThePoles(t *testing.T) {
	t.Parallel()
	for _, latitude := range []float64{-90, 90} {
		for _, event := range []string{"sunrise", "sunset", "dawn_astronomical", "dusk_civil"} {
			s, err := schedule.NewSolar(event, latitude, 0)
			if err != nil {
				t.Fatal(err)
			}
			at := s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			for range 20 {
				next := s.Next(at)
				if next.Sub(at) < 364*24*time.Hour || next.Sub(at) > 367*24*time.Hour {
					t.Errorf("%s: %v, %v", s, at, next)
				}
				at = next
			}
		}
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schedule.ParseCrontab("*/5 7-19 * * mon-fri", berlin)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC)
	if n := testing.AllocsPerRun(1000, func() { at = s.Next(at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNext(b *testing.B) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{
		`30`, `"*/5 * * * *"`, `"30 2 29 2 mon"`, `{"every": 7200, "relative": true}`, `{"solar": {"event": "sunset", "lat": 52.5, "lon": 13.4}}`,
	} {
		s, err := schedule.Decode([]byte(text), berlin)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			last := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
			for b.Loop() {
				s.Next(last)
			}
		})
	}
}
