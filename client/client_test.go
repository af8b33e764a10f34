package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/membroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// rig is a client on a broker and a backend in memory.
type rig struct {
	t       *testing.T
	broker  membroker.Broker
	results *membackend.Backend
	client  *client.Client
}

func newRig(t *testing.T, change ...func(*client.Config)) *rig {
	t.Helper()
	r := &rig{t: t, results: membackend.New()}
	cfg := client.Config{Publisher: r.broker.Publisher(), Loader: r.results, Origin: "gen1@here"}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if r.client, err = client.New(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) send(sig canvas.Signature, opts ...canvas.Option) *client.AsyncResult {
	r.t.Helper()
	result, err := r.client.Send(r.t.Context(), sig, opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// queued takes n tasks from a queue, as a worker decodes them.
func (r *rig) queued(queue string, n int) (decoded []*protocol.Task) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	consumer := r.broker.Consumer(queue)
	for len(decoded) < n {
		deliveries, err := consumer.Claim(ctx, n-len(decoded))
		if err != nil {
			r.t.Fatal(err)
		}
		for _, d := range deliveries {
			var received protocol.Received
			d.Read(&received)
			task, err := new(protocol.Decoder).Decode(&received)
			if err != nil {
				r.t.Fatal(err)
			}
			decoded = append(decoded, task)
		}
	}
	return decoded
}

// store stores a record as a worker would.
func (r *rig) store(id string, record protocol.Result) {
	r.t.Helper()
	record.TaskID = id
	if err := r.results.Store(r.t.Context(), backend.Record{TaskID: id, Document: record.Append(nil)}); err != nil {
		r.t.Fatal(err)
	}
}

func TestSendWithEveryOption(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	eta := time.Date(2026, 11, 23, 9, 0, 0, 123456000, time.UTC)
	result := r.send(canvas.Sig("proj.add", 1, "ü").Kw(map[string]any{"z": 2.0}).Link(canvas.Sig("proj.next")),
		canvas.TaskID("id-1"), canvas.Queue("hipri"), canvas.ETA(eta), canvas.ExpiresAt(eta.Add(time.Hour)), canvas.IgnoreResult(true),
		canvas.Priority(3), canvas.Shadow("alias"), canvas.TimeLimit(time.Minute), canvas.SoftTimeLimit(1500*time.Millisecond),
		canvas.Headers(map[string]any{"trace": "abc"}), canvas.ReplyTo("there"))
	if result.ID != "id-1" {
		t.Errorf("the result's id is %s", result.ID)
	}
	got := r.queued("hipri", 1)[0]
	want := []string{
		"proj.add", "id-1", "id-1", "id-1", `[1, "\u00fc"]`, `{"z": 2.0}`, "(1, 'ü')", "{'z': 2.0}", "gen1@here", "hipri", "alias", "there",
	}
	have := []string{
		got.Name, got.ID, got.RootID, got.CorrelationID, string(got.Args), string(got.Kwargs), got.ArgsRepr, got.KwargsRepr,
		got.Origin, got.RoutingKey, got.Shadow, got.ReplyTo,
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !got.ETA.Equal(eta) || !got.Expires.Equal(eta.Add(time.Hour)) || got.IgnoreResult == nil || !*got.IgnoreResult {
		t.Errorf("eta %v, expires %v, ignore_result %v", got.ETA, got.Expires, got.IgnoreResult)
	}
	if got.Priority != 3 || got.TimeLimit != time.Minute || got.SoftTimeLimit != 1500*time.Millisecond {
		t.Errorf("priority %d, limits %v and %v", got.Priority, got.TimeLimit, got.SoftTimeLimit)
	}
	if !strings.Contains(string(got.Headers), `"trace": "abc"`) || !strings.Contains(string(got.Embed.Callbacks), "proj.next") {
		t.Errorf("headers %s, callbacks %s", got.Headers, got.Embed.Callbacks)
	}
	if err := result.Get(t.Context(), nil); err != nil {
		t.Errorf("Get of an ignored result: %v", err)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	result, err := r.client.Delay(t.Context(), "proj.none")
	if err != nil {
		t.Fatal(err)
	}
	got := r.queued(client.DefaultQueue, 1)[0]
	if got.ID != result.ID || string(got.Args) != "[]" || string(got.Kwargs) != "{}" || len(got.ID) != 36 || !got.ETA.IsZero() || got.IgnoreResult != nil {
		t.Errorf("a call without arguments: %+v", got)
	}
}

func TestCountdown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := time.Now()
	r.send(canvas.Sig("proj.add"), canvas.Countdown(time.Minute))
	if d := r.queued(client.DefaultQueue, 1)[0].ETA.Sub(before); d < time.Minute-time.Second || d > time.Minute+10*time.Second {
		t.Errorf("ETA in %v, want a minute", d)
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(cfg *client.Config) {
		cfg.Queue = "rest"
		cfg.Route = func(task string) canvas.Options {
			if strings.HasPrefix(task, "feed.") {
				return canvas.Options{canvas.Queue("feeds"), canvas.Priority(5)}
			}
			return nil
		}
	})
	r.send(canvas.Sig("feed.poll"))
	r.send(canvas.Sig("feed.poll"), canvas.Queue("other"))
	r.send(canvas.Sig("mail"))
	if got := r.queued("feeds", 1)[0]; got.Priority != 5 {
		t.Errorf("priority %d, want the route's", got.Priority)
	}
	r.queued("other", 1)
	if got := r.queued("rest", 1)[0]; got.Name != "mail" {
		t.Errorf("the default queue has %s", got.Name)
	}
}

// publisher counts calls, and fails as long as it is told to.
type publisher struct {
	broker.Publisher
	calls, failures int
}

var errAway = errors.New("away")

func (p *publisher) Publish(ctx context.Context, messages ...broker.Publication) error {
	if p.calls++; p.calls <= p.failures {
		return errAway
	}
	return p.Publisher.Publish(ctx, messages...)
}

func TestSendAllInOneRoundTrip(t *testing.T) {
	t.Parallel()
	var p *publisher
	r := newRig(t, func(cfg *client.Config) {
		p = &publisher{Publisher: cfg.Publisher}
		cfg.Publisher = p
	})
	sigs := []canvas.Signature{
		canvas.Sig("a"), canvas.Group(canvas.Sig("b"), canvas.Sig("c")), canvas.Chain(canvas.Sig("d"), canvas.Sig("e")),
	}
	results, err := r.client.SendAll(t.Context(), sigs...)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, task := range r.queued(client.DefaultQueue, 4) {
		names = append(names, task.Name)
	}
	if want := []string{"a", "b", "c", "d"}; !cmp.Equal(names, want) || p.calls != 1 || len(results) != 3 {
		t.Errorf("%d results, %q in %d calls, want %q in one", len(results), names, p.calls, want)
	}
	if group := results[1].Group(); group == nil || len(group.Members) != 2 || results[0].Group() != nil {
		t.Errorf("the group's result is %+v", group)
	}
	if parent := results[2].Parent(); parent == nil || parent.ID == results[2].ID {
		t.Errorf("the chain's parent is %+v", parent)
	}
	if _, err := r.client.SendAll(t.Context(), canvas.Sig("ok"), canvas.Sig("bad", make(chan int))); err == nil || p.calls != 1 {
		t.Errorf("%v after %d calls: something was published", err, p.calls)
	}
}

func TestRetryPolicy(t *testing.T) {
	t.Parallel()
	fast := canvas.Opt("retry_policy", map[string]any{"max_retries": 4, "interval_start": 0, "interval_step": 0.001, "interval_max": 0.001})
	for _, c := range []struct {
		name     string
		failures int
		opts     []canvas.Option
		calls    int
		fails    bool
	}{
		{"as Celery by itself", 1, nil, 2, false},
		{"a policy of the call", 4, []canvas.Option{fast}, 5, false},
		{"used up", 9, []canvas.Option{fast}, 5, true},
		{"no limit", 9, []canvas.Option{canvas.Opt("retry_policy", map[string]any{"max_retries": nil, "interval_max": 0})}, 10, false},
		{"none", 1, []canvas.Option{canvas.Opt("retry", false)}, 1, true},
		{"no policy", 0, []canvas.Option{canvas.Opt("retry_policy", 5)}, 0, true},
		{"no number", 0, []canvas.Option{canvas.Opt("retry_policy", map[string]any{"max_retries": -2})}, 0, true},
	} {
		var p *publisher
		r := newRig(t, func(cfg *client.Config) {
			p = &publisher{Publisher: cfg.Publisher, failures: c.failures}
			cfg.Publisher = p
		})
		_, err := r.client.Send(t.Context(), canvas.Sig("x"), c.opts...)
		if (err != nil) != c.fails || p.calls != c.calls {
			t.Errorf("%s: %v after %d calls, want %d", c.name, err, p.calls, c.calls)
		}
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for want, sig := range map[string]canvas.Signature{
		"it has no name":         canvas.Sig(""),
		"chan int":               canvas.Sig("x", make(chan int)),
		"an empty chain":         canvas.Chain(),
		"client: task x: ":       canvas.Sig("x").Set(canvas.Serializer("gob")),
		"an empty signature":     {},
		"client: task x: retry:": canvas.Sig("x").Set(canvas.Opt("retry", "yes")),
	} {
		if _, err := r.client.Send(t.Context(), sig); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := client.New(client.Config{}); err == nil {
		t.Error("New without a publisher succeeded")
	}
}

// chords records what is prepared before messages are published.
type chords struct {
	*membackend.Backend
	sizes map[string]int
}

func (c *chords) SetSize(ctx context.Context, groupID string, size int) error {
	c.sizes[groupID] = size
	return c.Backend.SetSize(ctx, groupID, size)
}

func TestChord(t *testing.T) {
	t.Parallel()
	prepared := &chords{membackend.New(), map[string]int{}}
	r := newRig(t, func(cfg *client.Config) { cfg.Loader = prepared })
	result := r.send(canvas.Chord([]canvas.Signature{canvas.Sig("a"), canvas.Sig("b")}, canvas.Sig("sum")))
	members := r.queued(client.DefaultQueue, 2)
	header := result.Parent()
	if header == nil || header.Group() == nil || len(header.Group().Members) != 2 {
		t.Fatalf("the chord's header is %+v", header)
	}
	for i, member := range members {
		if member.GroupID != header.ID || member.ID != header.Group().Members[i].ID || member.Embed.Chord == nil {
			t.Errorf("member %d: %+v", i, member)
		}
	}
	if prepared.sizes[header.ID] != 2 {
		t.Errorf("sizes %v, want 2 for %s", prepared.sizes, header.ID)
	}
	nobody := newRig(t, func(cfg *client.Config) { cfg.Loader = nil })
	if _, err := nobody.client.Send(t.Context(), canvas.Chord([]canvas.Signature{canvas.Sig("a"), canvas.Sig("b")}, canvas.Sig("sum"))); !errors.Is(err, client.ErrNoChords) {
		t.Errorf("a chord without a backend: %v", err)
	}
}

// caster is a publisher that keeps what is broadcast.
type caster struct {
	broker.Publisher
	cast []broker.Publication
}

func (c *caster) Broadcast(_ context.Context, messages ...broker.Publication) error {
	c.cast = append(c.cast, messages...)
	return nil
}

func (c *caster) Subscribe(context.Context, broker.Subscription) error { return nil }

func TestRevoke(t *testing.T) {
	t.Parallel()
	var c *caster
	r := newRig(t, func(cfg *client.Config) {
		c = &caster{Publisher: cfg.Publisher}
		cfg.Publisher = c
	})
	one := r.send(canvas.Sig("x"), canvas.TaskID("id-1"))
	many := r.send(canvas.Group(canvas.Sig("a").Set(canvas.TaskID("m1")), canvas.Sig("b").Set(canvas.TaskID("m2"))))
	for _, err := range []error{
		one.Revoke(t.Context(), false), many.Revoke(t.Context(), true),
		r.client.RevokeByStampedHeaders(t.Context(), map[string][]string{"customer": {"7"}}, false),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`{"method":"revoke","arguments":{"task_id":"id-1","terminate":false,"signal":"SIGTERM"}}`,
		`{"method":"revoke","arguments":{"task_id":["m1","m2"],"terminate":true,"signal":"SIGTERM"}}`,
		`{"method":"revoke_by_stamped_headers","arguments":{"headers":{"customer":["7"]},"terminate":false,"signal":"SIGTERM"}}`,
	}
	for i, m := range c.cast {
		var got, expected map[string]any
		body := m.Message.Body
		if err := errors.Join(json.Unmarshal(body, &got), json.Unmarshal([]byte(want[i]), &expected)); err != nil {
			t.Fatal(err)
		}
		for _, null := range []string{"destination", "pattern", "matcher"} {
			expected[null] = nil
		}
		if diff := cmp.Diff(expected, got); diff != "" || m.Exchange != "celery.pidbox" {
			t.Errorf("to %s (-want +got):\n%s", m.Exchange, diff)
		}
	}
	deaf := newRig(t, func(cfg *client.Config) { cfg.Publisher = mute{cfg.Publisher} })
	if err := deaf.client.Result("x").Revoke(t.Context(), false); !errors.Is(err, client.ErrNoBroadcast) {
		t.Errorf("Revoke without a broadcaster: %v", err)
	}
}

// mute cannot broadcast.
type mute struct{ broker.Publisher }

func ExampleClient_SendAll() {
	var b membroker.Broker
	c, err := client.New(client.Config{Publisher: b.Publisher()})
	if err != nil {
		panic(err)
	}
	var mails []canvas.Signature
	for i := range 1000 {
		mails = append(mails, canvas.Sig("shop.mail", i))
	}
	results, err := c.SendAll(context.Background(), mails...)
	fmt.Println(len(results), b.Len(client.DefaultQueue), err)
	// Output: 1000 1000 <nil>
}

// TestTaskSent: the event goes out with the task.
func TestTaskSent(t *testing.T) {
	r := newRig(t, func(cfg *client.Config) {
		cfg.TaskSent = func(task *protocol.Task) broker.Publication {
			message, err := protocol.EncodeTask(&protocol.Task{Protocol: 2, Name: "event of " + task.Name, ID: task.ID, RoutingKey: "events"}, protocol.Publication{})
			if err != nil {
				t.Error(err)
			}
			return broker.Publication{RoutingKey: "events", Message: message}
		}
	})
	result := r.send(canvas.Sig("t"))
	if got := r.queued("events", 1)[0]; got.Name != "event of t" || got.ID != result.ID {
		t.Errorf("event: %+v", got)
	}
	r.queued("celery", 1)
}
