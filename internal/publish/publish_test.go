package publish_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/membackend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// shelf is a publisher that keeps what is published, call by call, as routing keys, with a mark if a chord ends.
type shelf struct {
	calls  []string
	refuse string // a routing key
	single bool   // what is refused keeps no other from being published
	fail   int    // how many calls fail first
}

var errAway = errors.New("the broker is away")

func (s *shelf) Publish(_ context.Context, messages ...broker.Publication) error {
	if s.fail > 0 {
		s.fail--
		return errAway
	}
	var keys []string
	var refused error
	for i, m := range messages {
		if m.RoutingKey != s.refuse {
			key := m.RoutingKey
			if m.Ends != nil {
				key += "!"
			}
			keys = append(keys, key)
			continue
		}
		refused = errors.Join(refused, &broker.RefusedError{Publication: m, Index: i, OthersSent: s.single, Err: broker.ErrUnroutable})
	}
	if refused == nil || s.single {
		s.calls = append(s.calls, strings.Join(keys, " "))
	}
	return refused
}

func (s *shelf) Close() error { return nil }

func once(_ context.Context, call func() error) error { return call() }

func newMaker(t *testing.T, cfg publish.Config) *publish.Maker {
	t.Helper()
	m, err := publish.NewMaker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func batchOf(t *testing.T, m *publish.Maker, sigs ...canvas.Signature) *publish.Batch {
	t.Helper()
	var b publish.Batch
	for _, sig := range sigs {
		plan, err := canvas.Apply(sig, nil, nil, m.Environment())
		if err == nil {
			err = m.Add(t.Context(), &b, plan)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &b
}

// TestChordBecomesABatch: what a chord has to be known by comes apart from its messages, which
// go where routes, queues and hooks say, each along with its event.
func TestChordBecomesABatch(t *testing.T) {
	m := newMaker(t, publish.Config{
		Environment: canvas.Environment{
			Origin: "gen1@here", DefaultQueue: "slow",
			Route: func(task string) canvas.Options {
				if task == "app.add" {
					return canvas.Options{canvas.Queue("fast"), canvas.Priority(3)}
				}
				return nil
			},
		},
		Compression: "zlib",
		Before: func(_ context.Context, task *protocol.Task) {
			if task.Name == "app.mul" {
				task.RoutingKey = "moved"
			}
		},
		Event: func(task *protocol.Task) broker.Publication {
			return broker.Publication{RoutingKey: "event:" + task.Name}
		},
	})
	b := batchOf(t, m, canvas.Chord([]canvas.Signature{canvas.Sig("app.add"), canvas.Sig("app.mul"), canvas.Sig("app.sub")}, canvas.Sig("app.sum")))
	if len(b.Writes) != 1 {
		t.Fatalf("writes: %v, want the size of the chord", b.Writes)
	}
	var got []string
	size := 0
	for _, message := range b.Messages {
		got = append(got, message.RoutingKey)
		if message.Task != nil {
			size += message.Message.Size()
		}
	}
	want := []string{"fast", "event:app.add", "moved", "event:app.mul", "slow", "event:app.sub"}
	if !slices.Equal(got, want) {
		t.Errorf("messages for %v, want %v", got, want)
	}
	if first := b.Messages[0].Task; first.Priority != 3 || first.Origin != "gen1@here" || b.First.Task != first {
		t.Errorf("the first message is of %+v", first)
	}
	if size != b.Size {
		t.Errorf("size %d, want %d", b.Size, size)
	}
	results := membackend.New()
	keeper := publish.BackendOf(backend.AbilitiesOf(results))
	if !keeper.Able() {
		t.Fatal("the backend keeps no chords")
	}
	if err := keeper.Write(t.Context(), b.Writes[0]); err != nil {
		t.Fatal(err)
	}
	if none := publish.BackendOf(backend.Abilities{}); none.Able() {
		t.Error("no backend keeps chords")
	}
	countsTo(t, results, b, 3)
}

// countsTo fails unless the chord of a batch is complete with that many parts.
func countsTo(t *testing.T, results *membackend.Backend, b *publish.Batch, parts int) {
	t.Helper()
	for i := range parts {
		task := b.Messages[2*i].Task
		counts, err := results.Count(t.Context(), backend.ChordPart{
			GroupID: task.GroupID, Index: task.GroupIndex, TaskID: task.ID, State: protocol.Success, Result: []byte("1"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if complete := counts[0].State == backend.ChordComplete; complete != (i == parts-1) {
			t.Errorf("after %d of %d parts the chord is complete: %v", i+1, parts, complete)
		}
	}
}

// signature stands for what signs messages.
type signature struct{ protocol.Serializer }

func (signature) ContentType() string                  { return "signed" }
func (signature) ContentEncoding() string              { return "utf-8" }
func (signature) FromJSON(text []byte) ([]byte, error) { return text, nil }

// TestFormats: the options of a call win over the maker's, and a name that means nothing is
// an error of the task.
func TestFormats(t *testing.T) {
	if _, err := publish.NewMaker(publish.Config{Serializer: "xml"}); err == nil {
		t.Error("there is no serializer xml")
	}
	m := newMaker(t, publish.Config{})
	for want, sig := range map[string]canvas.Signature{
		"application/json": canvas.Sig("t", 1), "application/x-yaml": canvas.Sig("t", 1).Set(canvas.Serializer("yaml")),
	} {
		if got := batchOf(t, m, sig).Messages[0].Message.ContentType; got != want {
			t.Errorf("content type %s, want %s", got, want)
		}
	}
	signs := newMaker(t, publish.Config{Signed: signature{}})
	for want, opts := range map[string][]canvas.Option{
		"signed": {canvas.Serializer("auth"), canvas.Compression("zlib")}, "application/x-yaml": {canvas.Serializer("yaml")},
	} {
		if got := batchOf(t, signs, canvas.Sig("t", 1).Set(opts...)).Messages[0].Message.ContentType; got != want {
			t.Errorf("content type %s where messages are signed, want %s", got, want)
		}
	}
	plan, err := canvas.Apply(canvas.Sig("app.odd").Set(canvas.Compression("odd")), nil, nil, m.Environment())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Add(t.Context(), &publish.Batch{}, plan); err == nil || !strings.Contains(err.Error(), "app.odd") {
		t.Errorf("an unknown compression: %v", err)
	}
}

// TestLargeBatchesGoOutInPortions: what is more than a portion is made when its turn comes.
func TestLargeBatchesGoOutInPortions(t *testing.T) {
	m := newMaker(t, publish.Config{})
	var sigs []canvas.Signature
	for _, queue := range []string{"a", "b", "c", "d", "e"} {
		sigs = append(sigs, canvas.Sig("t", strings.Repeat("x", publish.Portion/2)).Set(canvas.Queue(queue)))
	}
	b := batchOf(t, m, sigs...)
	made := 0
	for _, message := range b.Messages {
		made += message.Message.Size()
	}
	if made > publish.Portion || b.Size < publish.Portion {
		t.Errorf("%d bytes are made of %d", made, b.Size)
	}
	var s shelf
	var after []string
	sender := publish.Sender{Publisher: &s, Try: once, After: func(_ context.Context, task *protocol.Task) {
		after = append(after, task.RoutingKey)
	}}
	if err := sender.Send(t.Context(), b.Messages); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.calls, " | "); got != "a b | c d | e" {
		t.Errorf("published %s", got)
	}
	if got := strings.Join(after, " "); got != "a b c d e" {
		t.Errorf("the hook was told of %s", got)
	}
}

// TestOneRefusedMessage: those that do not belong together are published without it, others
// are not.
func TestOneRefusedMessage(t *testing.T) {
	m := newMaker(t, publish.Config{})
	sigs := []canvas.Signature{
		canvas.Sig("t").Set(canvas.Queue("a")), canvas.Sig("t").Set(canvas.Queue("bad")), canvas.Sig("t").Set(canvas.Queue("c")),
	}
	for _, each := range []bool{false, true} {
		s := shelf{refuse: "bad"}
		var after, refused []string
		sender := publish.Sender{Publisher: &s, Try: once, After: func(_ context.Context, task *protocol.Task) {
			after = append(after, task.RoutingKey)
		}}
		messages := batchOf(t, m, sigs...).Messages
		if !each {
			if err := sender.Send(t.Context(), messages); !errors.As(err, new(*broker.RefusedError)) || len(s.calls)+len(after) > 0 {
				t.Errorf("Send: %v, published %q, told %q", err, s.calls, after)
			}
			continue
		}
		sender.SendEach(t.Context(), messages, func(e *broker.RefusedError) { refused = append(refused, e.RoutingKey) })
		for what, got := range map[string][]string{"a c": after, "bad": refused} {
			if strings.Join(got, " ") != what {
				t.Errorf("%q, want %s", got, what)
			}
		}
		if !slices.Equal(s.calls, []string{"a", "c"}) {
			t.Errorf("published %q", s.calls)
		}
	}
}

// TestRefusedAlone: what was published beside a refused message is not published again.
func TestRefusedAlone(t *testing.T) {
	s := shelf{refuse: "bad", single: true}
	var after, refused []string
	sender := publish.Sender{Publisher: &s, Try: once, After: func(_ context.Context, task *protocol.Task) {
		after = append(after, task.RoutingKey)
	}}
	messages := batchOf(t, newMaker(t, publish.Config{}), canvas.Sig("t").Set(canvas.Queue("a")),
		canvas.Sig("t").Set(canvas.Queue("bad")), canvas.Sig("t").Set(canvas.Queue("c"))).Messages
	sender.SendEach(t.Context(), messages, func(e *broker.RefusedError) { refused = append(refused, e.RoutingKey) })
	if !slices.Equal(s.calls, []string{"a c"}) || !slices.Equal(after, []string{"a", "c"}) || !slices.Equal(refused, []string{"bad"}) {
		t.Errorf("published %q, told %q, refused %q", s.calls, after, refused)
	}
}

// TestTogether: what ends a chord together is published in one call, whatever is refused beside it. If one of them is, it ends nothing.
func TestTogether(t *testing.T) {
	chord, other := new(int), new(int)
	sig := func(queue string, size int) canvas.Signature {
		return canvas.Sig("t", strings.Repeat("x", size)).Set(canvas.Queue(queue))
	}
	for name, tt := range map[string]struct {
		sigs []canvas.Signature
		ends []any
		want []string
	}{
		"one refused beside them": {
			[]canvas.Signature{sig("a", 1), sig("bad", 1), sig("b", 1), sig("c", 1), sig("d", 1)},
			[]any{chord, nil, other, other, nil},
			[]string{"a!", "b! c!", "d"},
		},
		"one of them refused": {[]canvas.Signature{sig("a", 1), sig("bad", 1), sig("c", 1)}, []any{chord, chord, chord}, []string{"a", "c"}},
		"more than a portion": {
			[]canvas.Signature{sig("a", publish.Portion*2/3), sig("b", publish.Portion/6), sig("c", publish.Portion/2), sig("d", 1)},
			[]any{nil, chord, chord, nil},
			[]string{"a b! c!", "d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := shelf{refuse: "bad"}
			sender := publish.Sender{Publisher: &s, Try: once}
			messages := batchOf(t, newMaker(t, publish.Config{}), tt.sigs...).Messages
			for i, end := range tt.ends {
				messages[i].Ends = end
			}
			sender.SendEach(t.Context(), messages, func(*broker.RefusedError) {})
			if !slices.Equal(s.calls, tt.want) {
				t.Errorf("published %q, want %q", s.calls, tt.want)
			}
		})
	}
}

// TestGivenUp: what was not published is not said to be.
func TestGivenUp(t *testing.T) {
	s := shelf{fail: 1}
	sender := publish.Sender{Publisher: &s, Try: once, After: func(context.Context, *protocol.Task) { t.Error("the hook was told") }}
	sender.SendEach(t.Context(), batchOf(t, newMaker(t, publish.Config{}), canvas.Sig("t")).Messages, func(e *broker.RefusedError) { t.Error(e) })
}

func TestRetryPolicyOfACall(t *testing.T) {
	base := broker.RetryPolicy{MaxRetries: 3, IntervalStep: time.Second, IntervalMax: time.Minute}
	tests := []struct {
		retry, policy string
		never         bool
		want          broker.RetryPolicy
		wrong         bool
	}{
		{want: base},
		{never: true, want: broker.RetryPolicy{}},
		{retry: "false", want: broker.RetryPolicy{}},
		{retry: "true", never: true, want: base},
		{policy: `{"max_retries": null, "interval_start": 0.5, "errback": null}`, want: broker.RetryPolicy{
			MaxRetries: -1, IntervalStart: 500 * time.Millisecond, IntervalStep: time.Second, IntervalMax: time.Minute,
		}},
		{policy: `{"max_retries": -1}`, wrong: true},
		{policy: `[]`, wrong: true},
		{retry: `"yes"`, wrong: true},
	}
	for _, tt := range tests {
		call := canvas.Publish{}
		if tt.retry != "" {
			call.Retry = json.RawMessage(tt.retry)
		}
		if tt.policy != "" {
			call.RetryPolicy = json.RawMessage(tt.policy)
		}
		got, err := publish.Policy(base, !tt.never, &call)
		if (err != nil) != tt.wrong || err == nil && got != tt.want {
			t.Errorf("retry=%s retry_policy=%s: %+v, %v", tt.retry, tt.policy, got, err)
		}
	}
}

func TestRetry(t *testing.T) {
	quick := broker.RetryPolicy{MaxRetries: 2}
	for name, tt := range map[string]struct {
		err   error
		calls int
	}{"in vain": {errAway, 3}, "no use": {broker.ErrClosed, 1}, "at once": {nil, 1}} {
		calls := 0
		err := publish.Retry(t.Context(), quick, func() error { calls++; return tt.err })
		if calls != tt.calls || !errors.Is(err, tt.err) {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
}
