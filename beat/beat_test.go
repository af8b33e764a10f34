package beat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// shelf is a source whose entries a test changes, and that remembers what it was told.
type shelf struct {
	mu      sync.Mutex
	entries []*beat.Entry
	changed bool
	ran     []beat.Run
	err     error
}

func (s *shelf) Name() string { return "shelf" }

func (s *shelf) Load(context.Context) ([]*beat.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = false
	return slices.Clone(s.entries), s.err
}

func (s *shelf) Changed(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed, s.err
}

func (s *shelf) Ran(_ context.Context, runs []beat.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.ran = append(s.ran, runs...)
	}
	return s.err
}

// set changes the entries.
func (s *shelf) set(entries ...*beat.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.changed = entries, true
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// sent is a message that was published.
type sent struct {
	at   time.Time
	task protocol.Task
}

// outbox is a publisher that keeps what is published.
type outbox struct {
	broker.Publisher
	mu     sync.Mutex
	sent   []sent
	fail   error  // with which publishing fails
	refuse string // a queue
}

func (o *outbox) Publish(ctx context.Context, messages ...broker.Publication) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return o.fail
	}
	for i, m := range messages {
		if o.refuse != "" && m.RoutingKey == o.refuse {
			return &broker.RefusedError{Publication: m, Index: i, Err: broker.ErrUnroutable}
		}
	}
	for _, m := range messages {
		var received protocol.Received
		message := m.Message
		received.Set(&message, &protocol.Info{})
		task, err := new(protocol.Decoder).Decode(&received)
		if err != nil {
			return err
		}
		o.sent = append(o.sent, sent{time.Now(), *task})
	}
	return o.Publisher.Publish(ctx, messages...)
}

func (o *outbox) all() []sent {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.sent)
}

// times are those at which a task was sent, since a time.
func (o *outbox) times(task string, since time.Time) (at []time.Duration) {
	for _, s := range o.all() {
		if s.task.Name == task {
			at = append(at, s.at.Sub(since).Round(time.Millisecond))
		}
	}
	return at
}

// rig is what beats of a test have in common.
type rig struct {
	t      *testing.T
	source *shelf
	out    *outbox
	slots  broker.Slots
	log    *bytes.Buffer
	logger *slog.Logger
	start  time.Time
}

func newRig(t *testing.T, entries ...*beat.Entry) *rig {
	t.Helper()
	r := &rig{t: t, source: &shelf{entries: entries}, out: &outbox{Publisher: new(membroker.Broker).Publisher()}, log: new(bytes.Buffer), start: time.Now()}
	r.logger = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	slots, err := beat.NewLocalSlots(r.out, "")
	if err != nil {
		t.Fatal(err)
	}
	r.slots = slots
	return r
}

// beat starts a beat; the returned function ends it.
func (r *rig) beat(change ...func(*beat.Config)) (b *beat.Beat, stop func()) {
	r.t.Helper()
	producer, err := client.New(client.Config{Publisher: r.out, Origin: "gen1@here"})
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := beat.Config{
		Sources: []beat.Source{r.source}, Producer: producer, Slots: r.slots, Node: "celerybeat@here", Logger: r.logger,
	}
	for _, f := range change {
		f(&cfg)
	}
	if b, err = beat.New(cfg); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	return b, func() { cancel(); <-done }
}

func every(t *testing.T, d time.Duration) schedule.Schedule {
	t.Helper()
	s, err := schedule.NewEvery(d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cron(t *testing.T, line, zone string) schedule.Schedule {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schedule.ParseCrontab(line, loc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seconds(at ...float64) (all []time.Duration) {
	for _, s := range at {
		all = append(all, time.Duration(s*float64(time.Second)))
	}
	return all
}

func (r *rig) want(task string, at ...float64) {
	r.t.Helper()
	if got, want := r.out.times(task, r.start), seconds(at...); !slices.Equal(got, want) {
		r.t.Errorf("%s was sent at %v, want %v", task, got, want)
	}
}

// TestBrokerAway: what is due stays due, and is one run when the broker is back.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 10*time.Second)})
		_, stop := r.beat()
		time.Sleep(11 * time.Second)
		r.out.mu.Lock()
		r.out.fail = fmt.Errorf("away")
		r.out.mu.Unlock()
		time.Sleep(34 * time.Second)
		r.out.mu.Lock()
		r.out.fail = nil
		r.out.mu.Unlock()
		time.Sleep(7 * time.Second)
		stop()
		if at := r.out.times("t.a", r.start); len(at) != 3 || at[1] < 45*time.Second || at[1] > 46*time.Second || at[2] != 50*time.Second {
			t.Errorf("sent at %v, want once when the broker is back", at)
		}
		if lines := strings.Count(r.log.String(), "Trying again"); lines < 2 || lines > 8 {
			t.Errorf("%d lines about the outage:\n%s", lines, r.log)
		}
	})
}

// awayUntil is a result backend that takes no sizes of chords until then.
type awayUntil struct {
	*membackend.Backend
	until time.Time
}

func (a awayUntil) SetSize(ctx context.Context, groupID string, size int) error {
	if time.Now().Before(a.until) {
		return errors.New("the backend is away")
	}
	return a.Backend.SetSize(ctx, groupID, size)
}

// TestChordWhileBackendAway: a chord whose size cannot be written stays due, and keeps no other entry from running.
func TestChordWhileBackendAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		chord := canvas.Chord([]canvas.Signature{canvas.Sig("t.part"), canvas.Sig("t.part")}, canvas.Sig("t.sum"))
		r := newRig(t, &beat.Entry{Name: "chord", Task: "t.part", Signature: chord, Schedule: every(t, 10*time.Second)},
			&beat.Entry{Name: "a", Task: "t.a", Schedule: every(t, 10*time.Second)})
		loader := awayUntil{membackend.New(), time.Now().Add(14200 * time.Millisecond)}
		producer, err := client.New(client.Config{Publisher: r.out, Loader: loader, Origin: "gen1@here"})
		if err != nil {
			t.Fatal(err)
		}
		_, stop := r.beat(func(c *beat.Config) { c.Producer = producer })
		time.Sleep(21 * time.Second)
		stop()
		r.want("t.a", 10, 20)
		r.want("t.part", 14.5, 14.5, 20, 20)
		if n := strings.Count(r.log.String(), "beat: Result backend: client: prepare a chord: the backend is away"); n < 1 || n > 3 {
			t.Errorf("%d lines about it:\n%s", n, r.log)
		}
	})
}

// TestBadEntries: one that cannot run is named once and keeps no other from running; one whose message is
// refused is tried again.
func TestBadEntries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		options := json.RawMessage(`{"serializer": "odd"}`)
		r := newRig(t, &beat.Entry{Name: "broken", Err: fmt.Errorf("no schedule")},
			&beat.Entry{Name: "odd", Task: "t.odd", Schedule: every(t, 3*time.Second), Options: options},
			&beat.Entry{Name: "list", Task: "t.list", Schedule: every(t, 3*time.Second), Options: json.RawMessage(`[]`)},
			&beat.Entry{Name: "refused", Task: "t.refused", Schedule: every(t, 3*time.Second), Options: json.RawMessage(`{"queue": "bad"}`)},
			&beat.Entry{Name: "off", Task: "t.off", Schedule: every(t, 3*time.Second), Disabled: true},
			&beat.Entry{Name: "good", Task: "t.good", Schedule: every(t, 3*time.Second)})
		r.out.refuse = "bad"
		_, stop := r.beat()
		time.Sleep(7 * time.Second)
		r.out.mu.Lock()
		r.out.refuse = ""
		r.out.mu.Unlock()
		time.Sleep(30 * time.Second)
		stop()
		r.want("t.good", 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36)
		r.want("t.odd")
		r.want("t.off")
		r.want("t.refused", 33, 36)
		for text, n := range map[string]int{
			"Entry broken cannot run": 1, "Entry list cannot run": 1, "Couldn't apply scheduled task odd": 12, "Couldn't apply scheduled task refused": 1,
		} {
			if got := strings.Count(r.log.String(), text); got != n {
				t.Errorf("%q was logged %d times, want %d", text, got, n)
			}
		}
	})
}

// TestFileOfSlots: without a broker that keeps it, a file does.
func TestFileOfSlots(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/celerybeat-schedule.json"
	out := &outbox{Publisher: new(membroker.Broker).Publisher()}
	slots, err := beat.NewLocalSlots(out, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slots.Take(t.Context(), "s", "", broker.Turn{Entry: "a", After: "1"}, broker.Turn{Entry: "b", After: "1"}); err != nil {
		t.Fatal(err)
	}
	if slots, err = beat.NewLocalSlots(out, path); err != nil {
		t.Fatal(err)
	}
	taken, err := slots.Take(t.Context(), "s", "", broker.Turn{Entry: "a", Before: "1"}, broker.Turn{Entry: "b", Before: "0", After: "2"}, broker.Turn{Entry: "b", After: "1"})
	if err != nil || !taken[0].OK || taken[1].OK || taken[1].Stored != "1" || !taken[2].OK {
		t.Errorf("taken: %v, %v", taken, err)
	}
	if stored, err := slots.Slots(t.Context(), "s"); err != nil || len(stored) != 1 {
		t.Errorf("stored: %v, %v", stored, err)
	}
	if err := os.WriteFile(path, []byte("GDBM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := beat.NewLocalSlots(out, path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file of something else: %v", err)
	}
}

// TestConfig: what is missing is named.
func TestConfig(t *testing.T) {
	t.Parallel()
	for _, cfg := range []beat.Config{{}, {Sources: []beat.Source{&shelf{}}}, {Sources: []beat.Source{&shelf{}}, Producer: &client.Client{}}} {
		if _, err := beat.New(cfg); err == nil || !strings.Contains(err.Error(), "is required") {
			t.Errorf("%v", err)
		}
	}
}
