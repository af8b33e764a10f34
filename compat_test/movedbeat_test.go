package compat_test

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	apium "github.com/apium/apium/app"
	"github.com/apium/apium/beat"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/envelope"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/settings"
)

// span is a time that passes for beats while none does for others.
type span struct {
	zone        string
	from, until time.Time
}

// envelopes is a publisher that keeps messages as they are in Redis.
type envelopes struct {
	mu  sync.Mutex
	all []envelopeIn
}

type envelopeIn struct{ queue, raw string }

func (e *envelopes) Publish(_ context.Context, messages ...broker.Publication) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range messages {
		m := &messages[i]
		e.all = append(e.all, envelopeIn{m.RoutingKey, string(envelope.Append(nil, &m.Message, m.Exchange, m.RoutingKey, "tag"))})
	}
	return nil
}

func (e *envelopes) Close() error { return nil }

// apiums runs our beat for a while of its own, and returns what it has sent. What open makes sees that time, too.
func (s span) apiums(t *testing.T, conf *settings.Settings, open func(*testing.T) beat.Source) map[string][]beatMessage {
	t.Helper()
	sent := new(envelopes)
	synctest.Test(t, func(t *testing.T) {
		source := open(t)
		producer := fromsettings.Producer(conf)
		producer.Publisher = sent
		made, err := client.New(producer)
		if err != nil {
			t.Fatal(err)
		}
		slots, err := beat.NewLocalSlots(sent, "")
		if err != nil {
			t.Fatal(err)
		}
		b, err := beat.New(beat.Config{Sources: []beat.Source{source}, Producer: made, Slots: slots, CronStartingDeadline: conf.BeatCronStartingDeadline, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(s.from))
		ctx, stop := context.WithDeadline(t.Context(), s.until)
		defer stop()
		b.Run(ctx)
	})
	found := map[string][]beatMessage{}
	for _, m := range sent.all {
		read := readBeatMessage(t, m.queue, m.raw)
		found[read.name()] = append(found[read.name()], read)
	}
	return found
}

// beatSchedule opens the entries of beat_schedule.
func beatSchedule(conf *settings.Settings) func(*testing.T) beat.Source {
	return func(*testing.T) beat.Source { return apium.BeatSchedule(conf) }
}

// celerys does that with Celery's, which takes a millisecond for each look at its schedule.
func (s span) celerys(t *testing.T, dir, module string, a app, args ...string) {
	t.Helper()
	variables := append(a.env(t), "CLOCK_FROM="+s.from.Format(time.RFC3339), "CLOCK_UNTIL="+s.until.Format(time.RFC3339))
	p := start(t, "celery beat", dir, variables, a.python(), append([]string{"-m", "celery", "-A", module, "beat"}, args...)...)
	const most = 5 * time.Minute // it computes all the time
	eventually(t, most, "celery beat is through", p.ended)
}

// second tells whether a time comes when the clocks of a zone have been there before.
func (s span) second(t *testing.T, at time.Time) bool {
	t.Helper()
	zone, err := time.LoadLocation(s.zone)
	if err != nil {
		t.Fatal(err)
	}
	wall := func(at time.Time) string { return at.In(zone).Format(time.DateTime) }
	return wall(at) == wall(at.Add(-time.Hour)) || wall(at) == wall(at.Add(-30*time.Minute))
}

// sinceSent has the dates of messages count from when they were sent: Celery writes them in its zone.
func sinceSent(t *testing.T, messages []beatMessage) []beatMessage {
	t.Helper()
	for i, m := range messages {
		m.Queue, _, _ = strings.Cut(m.Queue, "\x06") // where a priority has its list
		if text, ok := m.Headers["eta"].(string); ok {
			eta, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				t.Fatal(err)
			}
			m.Headers["eta"] = eta.Sub(m.sent).String()
		}
		messages[i] = m
	}
	return messages
}

// within is how much later Celery's beat may send than ours: one look for each entry that is due, or for solar events
// what both are exact to.
func within(entry string) time.Duration {
	switch entry {
	case "often", "uneven", "quarter", // count from the last sending
		"starting": // waits for whole seconds
		return time.Second
	case "sunset":
		return 3 * time.Second
	}
	return 50 * time.Millisecond
}

// TestBeatMovedClock: while hours and days pass and clocks are changed, apium beat sends what celery beat sends, and when;
// but it does not fall silent while an hour comes a second time. Both send celery.backend_cleanup, for which there is no entry.
func TestBeatMovedClock(t *testing.T) {
	t.Parallel()
	const day = "29 and 1 again" // in which what is sent all the time would be most of the work
	for name, days := range map[string][3]string{
		"autumn":       {"Europe/Berlin", "2026-10-24T20:30:17Z", "2026-10-25T04:10:30Z"},
		"spring":       {"Europe/Berlin", "2027-03-27T20:30:17Z", "2027-03-28T04:10:30Z"},
		"half an hour": {"Australia/Lord_Howe", "2027-04-03T12:40:17Z", "2027-04-03T16:40:30Z"},
		"at midnight":  {"America/Santiago", "2026-09-06T02:30:17Z", "2026-09-06T05:40:30Z"},
		day:            {"UTC", "2028-02-28T22:50:17Z", "2028-03-01T01:10:30Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpan(t, days)
			server := startRedis(t)
			a := app{broker: server.url(0), backend: "db+" + sqltest.New(t, sqltest.SQLite).URL(), variables: []string{"ZONE=" + s.zone}}
			least := map[string]int{"minute": 60, "hourly": 2, "often": 50, "third": 1}
			if name == day {
				a.variables = append(a.variables, "WITHOUT=minute,five,often")
				least = map[string]int{"hourly": 26, "leap": 1, "first": 1, "daily": 1, "sunset": 1}
			}
			s.celerys(t, appDir, "moved", a, "-s", filepath.Join(t.TempDir(), "schedule"))
			conf, err := settings.Load(settings.Sources{File: export(t, appDir, a, "moved", "json")})
			if err != nil {
				t.Fatal(err)
			}
			celery, ours := server.beatMessages(t, "celery", "q\x06\x166"), s.apiums(t, conf, beatSchedule(conf))
			s.compare(t, celery, ours)
			if name == "autumn" && len(ours["celery.backend_cleanup"]) != 1 {
				t.Errorf("celery.backend_cleanup was sent %d times in a night", len(ours["celery.backend_cleanup"]))
			}
			for name, n := range least {
				if len(ours[name]) < n {
					t.Errorf("%s was sent only %d times", name, len(ours[name]))
				}
			}
		})
	}
}

func newSpan(t *testing.T, days [3]string) (s span) {
	t.Helper()
	var err error
	s.zone = days[0]
	if s.from, err = time.Parse(time.RFC3339, days[1]); err != nil {
		t.Fatal(err)
	}
	if s.until, err = time.Parse(time.RFC3339, days[2]); err != nil {
		t.Fatal(err)
	}
	return s
}

// hourlyCrontabs are entries whose crontab names no hours: they are sent when an hour comes twice, and Celery's are not.
var hourlyCrontabs = []string{"minute", "five", "half", "hour"}

// compare compares what both beats have sent.
func (s span) compare(t *testing.T, celery, ours map[string][]beatMessage) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(celery)), slices.Sorted(maps.Keys(ours))); diff != "" {
		t.Errorf("entries (-celery +apium):\n%s", diff)
	}
	for name, sent := range ours {
		seen := map[string]bool{}
		for _, m := range sent {
			if seen[m.id] {
				t.Errorf("%s was sent twice for a slot, at %v", name, m.sent)
			}
			seen[m.id] = true
		}
		if slices.Contains(hourlyCrontabs, name) {
			sent = slices.DeleteFunc(sent, func(m beatMessage) bool { return s.second(t, m.sent) })
		}
		want, got := sinceSent(t, celery[name]), sinceSent(t, sent)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(beatMessage{})); diff != "" {
			t.Errorf("%s (-celery +apium):\n%s", name, tail(diff, 3000))
			continue
		}
		for i := range want {
			if d := want[i].sent.Sub(got[i].sent); d.Abs() > within(name) {
				t.Errorf("%s: run %d was sent at %v, by Celery's at %v", name, i+1, got[i].sent, want[i].sent)
				break
			}
		}
	}
}

// TestBeatWhenAnHourComesTwice: where Celery's beat, started in the second of two hours, sends an entry again and again, it is
// sent at its times.
func TestBeatWhenAnHourComesTwice(t *testing.T) {
	t.Parallel()
	s := newSpan(t, [3]string{"Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T01:10:02Z"})
	server := startRedis(t)
	a := app{broker: server.url(0), variables: []string{"ZONE=" + s.zone, "ONLY=half"}}
	s.celerys(t, appDir, "moved", a, "-s", filepath.Join(t.TempDir(), "schedule"))
	if n := server.int(t, "LLEN", "q\x06\x166"); n < 500 {
		t.Errorf("Celery's beat has sent it %d times in two seconds: the defect is gone, and docs/periodic.md names it", n)
	}
	conf, err := settings.Load(settings.Sources{File: export(t, appDir, a, "moved", "json")})
	if err != nil {
		t.Fatal(err)
	}
	s.until = s.from.Add(2 * time.Hour)
	var at []string
	for _, m := range s.apiums(t, conf, beatSchedule(conf))["half"] {
		at = append(at, m.sent.UTC().Format("15:04:05"))
	}
	if diff := cmp.Diff([]string{"01:30:00", "02:00:00", "02:30:00", "03:00:00"}, at); diff != "" {
		t.Errorf("sent at (-want +got):\n%s", diff)
	}
}
