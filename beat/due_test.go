package beat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/broker"
)

// TestIntervalsKeepToTheirGrid: a new entry does not run at once, fractions of a second count, and what
// is sent late does not put off what comes after it.
func TestIntervalsKeepToTheirGrid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 2500*time.Millisecond)},
			&beat.Entry{Name: "b", Task: "t.b", Schedule: every(t, 4*time.Second)})
		_, stop := r.beat()
		time.Sleep(9 * time.Second)
		stop()
		r.want("t.a", 2.5, 5, 7.5)
		r.want("t.b", 4, 8)
		if runs := r.source.ran; len(runs) == 0 || runs[len(runs)-1].Count < 2 {
			t.Errorf("the source was told %+v", runs)
		}
	})
}

// TestWakingUp: how long nothing is due is logged once, and again when that changes or the longest interval has passed.
func TestWakingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hourly := &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, time.Hour)}
		r := newRig(t, hourly)
		_, stop := r.beat(func(c *beat.Config) { c.MaxInterval = time.Minute })
		time.Sleep(170 * time.Second)
		r.source.set(hourly, &beat.Entry{Name: "b", Task: "t.b", Schedule: every(t, 4*time.Second)})
		time.Sleep(10 * time.Second)
		stop()
		if n := strings.Count(r.log.String(), "Waking up in 1.00 minute."); n != 3 {
			t.Errorf("a minute was logged %d times in three", n)
		}
		if n, sent := strings.Count(r.log.String(), "Waking up in 4.00 seconds."), len(r.out.times("t.b", r.start)); n == 0 || n > sent+1 {
			t.Errorf("four seconds were logged %d times, for %d runs", n, sent)
		}
	})
}

// TestOneRunAfterDowntime: what was missed is one run, at once, and then all goes on as it was.
func TestOneRunAfterDowntime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 10*time.Second)},
			&beat.Entry{Name: "c", Task: "t.c", Schedule: cron(t, "* * * * *", "UTC")},
			&beat.Entry{Name: "d", Task: "t.d", Schedule: cron(t, "30 2 * * *", "UTC")})
		_, stop := r.beat()
		time.Sleep(11 * time.Second)
		stop()
		time.Sleep(234 * time.Second)
		_, stop = r.beat()
		time.Sleep(16 * time.Second)
		stop()
		r.want("t.a", 10, 245, 250, 260)
		r.want("t.c", 245)
		r.want("t.d")
	})
}

// TestDeadline: a crontab that is too late is not sent; an interval is.
func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 30*time.Second)},
			&beat.Entry{Name: "h", Task: "t.h", Schedule: cron(t, "0 * * * *", "UTC")},
			&beat.Entry{Name: "m", Task: "t.m", Schedule: cron(t, "* * * * *", "UTC")})
		_, stop := r.beat()
		time.Sleep(time.Second)
		stop()
		time.Sleep(2*time.Hour - 1*time.Second + 130*time.Second)
		minute := time.Minute
		_, stop = r.beat(func(c *beat.Config) { c.CronStartingDeadline = &minute })
		time.Sleep(3 * time.Second)
		stop()
		r.want("t.a", 7330)
		r.want("t.h")
		r.want("t.m", 7330)
	})
}

// TestDeadlineOfAnEntry: what an entry says counts before what the beat says.
func TestDeadlineOfAnEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hour, minute := time.Hour, time.Minute
		late := cron(t, "0 * * * *", "UTC")
		r := newRig(t, &beat.Entry{Name: "late", Task: "t.late", Schedule: late, StartingDeadline: &hour},
			&beat.Entry{Name: "strict", Task: "t.strict", Schedule: late})
		_, stop := r.beat()
		time.Sleep(time.Second)
		stop()
		time.Sleep(2*time.Hour - 1*time.Second + 130*time.Second)
		_, stop = r.beat(func(c *beat.Config) { c.CronStartingDeadline = &minute })
		time.Sleep(3 * time.Second)
		stop()
		r.want("t.late", 7330)
		r.want("t.strict")
	})
}

// TestOneOffAndExpired: a one-off runs once, also while its source still has it, and again only if somebody
// has enabled it since; an entry that has expired ends.
func TestOneOffAndExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		once := &beat.Entry{Name: "once", Task: "t.once", Schedule: every(t, 3*time.Second), OneOff: true, Since: start}
		r := newRig(t, once, &beat.Entry{Name: "e", Task: "t.e", Schedule: every(t, 4*time.Second), Expires: start.Add(10 * time.Second)})
		_, stop := r.beat()
		time.Sleep(12 * time.Second)
		stop()
		_, stop = r.beat()
		time.Sleep(8 * time.Second)
		again := *once
		again.Since = time.Now()
		r.source.set(&again)
		time.Sleep(20 * time.Second)
		stop()
		r.want("t.e", 4, 8)
		var ended []string
		for _, run := range r.source.ran {
			if run.Ended {
				ended = append(ended, fmt.Sprint(run.Entry.Name, run.Slot.IsZero()))
			}
		}
		slices.Sort(ended)
		if got := slices.Compact(ended); !slices.Equal(got, []string{"etrue", "oncefalse"}) {
			t.Errorf("ended: %v", got)
		}
		if got := r.out.times("t.once", r.start); len(got) != 2 || got[0] != 3*time.Second || got[1] < 23*time.Second {
			t.Errorf("the one-off was sent at %v", got)
		}
	})
}

// TestStartTime: nothing is due before it; an interval is at it, a crontab at its first time after it.
func TestStartTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(5 * time.Second)
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 2*time.Second), StartTime: from},
			&beat.Entry{Name: "c", Task: "t.c", Schedule: cron(t, "* * * * *", "UTC"), StartTime: from.Add(time.Minute), Since: from.Add(-time.Hour)})
		_, stop := r.beat()
		time.Sleep(10 * time.Second)
		r.want("t.a", 5, 7, 9)
		time.Sleep(111 * time.Second)
		stop()
		r.want("t.c", 120)
	})
}

// TestChangedSchedule: what was due by the old schedule is forgotten, when the entry last ran is not.
func TestChangedSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 20*time.Second)})
		_, stop := r.beat()
		time.Sleep(21 * time.Second)
		r.source.set(&beat.Entry{Name: "a", Task: "t.new", Schedule: every(t, 7*time.Second)})
		time.Sleep(15 * time.Second)
		stop()
		r.want("t.a", 20)
		r.want("t.new", 27, 34)
	})
}

// TestAutumn: where the clock is put back, an entry of every half hour goes on in the second pass, each time
// once; one at a given hour runs in the first only.
func TestAutumn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 10, 24, 23, 50, 0, 0, time.UTC))) // 01:50 in Berlin
		r := newRig(t, &beat.Entry{Name: "half", Task: "t.half", Schedule: cron(t, "*/30 * * * *", "Europe/Berlin")},
			&beat.Entry{Name: "day", Task: "t.day", Schedule: cron(t, "30 2 * * *", "Europe/Berlin")})
		_, stop := r.beat()
		time.Sleep(90 * time.Minute)
		stop()
		_, stop = r.beat() // in the second pass
		time.Sleep(60 * time.Minute)
		stop()
		r.want("t.half", 600, 2400, 4200, 6000, 7800)
		r.want("t.day", 2400)
	})
}

// TestClockThatWasWrong: runs of a time that has not come yet keep nothing from running.
func TestClockThatWasWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 10*time.Second)})
		wrong := time.Now().Add(24 * time.Hour)
		text, _ := json.Marshal(map[string]any{"slot": wrong, "last_run_at": wrong, "count": 3, "definition": "x", "by": "?"})
		if _, err := r.slots.Take(t.Context(), beat.DefaultSchedule, "", broker.Turn{Entry: "a", After: string(text)}); err != nil {
			t.Fatal(err)
		}
		_, stop := r.beat()
		time.Sleep(21 * time.Second)
		stop()
		r.want("t.a", 10, 20)
		if !strings.Contains(r.log.String(), "which is in the future") {
			t.Errorf("log: %s", r.log)
		}
	})
}
