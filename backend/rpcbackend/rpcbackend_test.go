package rpcbackend_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/rpcbackend"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/protocol"
)

// pair is a worker's end and that of who has sent the tasks.
type pair struct {
	backend.Loader
	sender *rpcbackend.Sender
	inbox  *rpcbackend.Inbox
}

func (p *pair) Store(ctx context.Context, records ...backend.Record) error {
	addressed := make([]backend.Record, len(records))
	for i, r := range records {
		r.Task = &protocol.Task{ReplyTo: p.inbox.ReplyTo(), CorrelationID: r.TaskID}
		addressed[i] = r
	}
	return p.sender.Store(ctx, addressed...)
}

func (p *pair) Encode(r backend.Record) (backend.Record, error) { return p.sender.Encode(r) }

func (p *pair) Close() error { return errors.Join(p.inbox.Close(), p.sender.Close()) }

// newPair returns a pair that has not connected yet.
func newPair(t *testing.T, cfg rpcbackend.Config) *pair {
	t.Helper()
	sender, err := rpcbackend.NewSender(cfg)
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := rpcbackend.NewInbox(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{Loader: inbox, sender: sender, inbox: inbox}
}

// opened returns a pair whose queue is there.
func opened(t *testing.T, cfg rpcbackend.Config) *pair {
	t.Helper()
	p := newPair(t, cfg)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.inbox.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBackend(t *testing.T) {
	backendtest.Run(t, backendtest.Features{Loads: true, Encodes: true}, func(t *testing.T) backend.Store {
		return opened(t, rpcbackend.Config{URL: rabbittest.New(t).URL()})
	})
}

// TestSerializers: each says what it is, so that every inbox reads it.
func TestSerializers(t *testing.T) {
	t.Parallel()
	url := rabbittest.New(t).URL()
	ch := rabbittest.Channel(t, url)
	reader := opened(t, rpcbackend.Config{URL: url})
	for serializer, contentType := range map[string]string{
		"pickle": "application/x-python-serialize binary", "msgpack": "application/x-msgpack binary", "yaml": "application/x-yaml utf-8",
	} {
		cfg := rpcbackend.Config{URL: url}
		cfg.Serializer = serializer
		sender, err := rpcbackend.NewSender(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sender.Close() })
		caller := queue(t, ch)
		record := backendtest.Record("SUCCESS", serializer, `{"a": [1, null]}`)
		encoded, err := sender.Encode(record)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []backend.Record{record, encoded} {
			r.ReplyTo = caller
			if err := sender.Store(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			got := arrived(t, ch, caller, 1)[0]
			if is := got.ContentType + " " + got.ContentEncoding; is != contentType || string(got.Body) != string(encoded.Encoded) {
				t.Errorf("%s: %s %q", serializer, is, got.Body)
			}
		}
		record.ReplyTo = reader.inbox.ReplyTo()
		if err := sender.Store(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		got, err := reader.Load(t.Context(), serializer)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(record.Document), string(got)); diff != "" {
			t.Errorf("%s: %s", serializer, diff)
		}
	}
	sender, err := rpcbackend.NewSender(rpcbackend.Config{URL: url, Serializer: "msgpack"})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	large := backendtest.Record("SUCCESS", "1", "123456789012345678901234567890")
	large.ReplyTo = reader.inbox.ReplyTo()
	var refused *backend.RecordError
	if err := sender.Store(t.Context(), large); !errors.As(err, &refused) {
		t.Errorf("what msgpack does not have: %v", err)
	}
}

// arrived are the messages of a queue, n of them.
func arrived(t *testing.T, ch *amqp.Channel, queue string, n int) []amqp.Delivery {
	t.Helper()
	var all []amqp.Delivery
	for range n {
		d, ok, err := ch.Get(queue, true)
		if err != nil || !ok {
			t.Fatalf("message %d: %v, %v", len(all), ok, err)
		}
		all = append(all, d)
	}
	if d, ok, err := ch.Get(queue, true); err != nil || ok {
		t.Fatalf("one too many: %+v, %v", d, err)
	}
	return all
}

func queue(t *testing.T, ch *amqp.Channel) string {
	t.Helper()
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Name
}

// TestMessages: what Celery 5.7 sends, to whom.
func TestMessages(t *testing.T) {
	t.Parallel()
	url := rabbittest.New(t).URL()
	ch := rabbittest.Channel(t, url)
	callers, others := queue(t, ch), queue(t, ch)
	for _, persistent := range []bool{false, true} {
		cfg := rpcbackend.Config{URL: url}
		cfg.Persistent = persistent
		sender, err := rpcbackend.NewSender(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sender.Close() })
		records := []backend.Record{
			backendtest.Record("STARTED", "1", "null"), backendtest.Record("SUCCESS", "1", "2"), backendtest.Record("FAILURE", "2", "null"),
			backendtest.Record("SUCCESS", "3", "1"), backendtest.Record("SUCCESS", "4", "1"), backendtest.Record("SUCCESS", "5", "1"),
		}
		records[0].Task = &protocol.Task{ReplyTo: callers, CorrelationID: "own"}
		records[1].Task = records[0].Task
		records[2].ReplyTo = others // a step of a chain that does not run
		records[4].Task = &protocol.Task{CorrelationID: "4"}
		records[5].Task = &protocol.Task{ReplyTo: "gone"}
		if err := sender.Store(t.Context(), records...); err != nil {
			t.Fatal(err)
		}
		mode := map[bool]uint8{false: 1, true: 2}[persistent]
		check := func(queue string, want ...string) {
			var got []string
			for _, d := range arrived(t, ch, queue, len(want)) {
				got = append(got, fmt.Sprintf("%s %s %s", d.CorrelationId, d.Body[:20], d.Body[len(d.Body)-14:]))
				if d.ContentType != "application/json" || d.ContentEncoding != "utf-8" || d.DeliveryMode != mode || d.Exchange != "" || len(d.Headers) > 0 || d.Priority != 0 {
					t.Errorf("%+v", d)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		check(callers, `own {"status": "STARTED" task_id": "1"}`, `own {"status": "SUCCESS" task_id": "1"}`)
		check(others, `2 {"status": "FAILURE" task_id": "2"}`)
	}
}

func TestRecordsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t, rabbittest.Config("max_message_size = 100000"))
	p := opened(t, rpcbackend.Config{URL: server.VHost(t).URL()})
	long := strings.Repeat("x", 256)
	records := []backend.Record{
		backendtest.Record("SUCCESS", "1", "1"), backendtest.Record("SUCCESS", "large", `"`+strings.Repeat("x", 100000)+`"`),
		backendtest.Record("SUCCESS", "3", "1"), backendtest.Record("SUCCESS", long, "1"), backendtest.Record("SUCCESS", "5", "1"),
	}
	err := p.Store(t.Context(), records...)
	var refused []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			var one *backend.RecordError
			if !errors.As(e, &one) {
				t.Fatal(err)
			}
			refused = append(refused, one.TaskID)
		}
	}
	if diff := cmp.Diff([]string{long, "large"}, refused); diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if !strings.Contains(err.Error(), "larger than configured max size 100000") {
		t.Error(err)
	}
	if record, err := p.Load(t.Context(), "large"); err != nil || !strings.Contains(string(record), `"status": "FAILURE"`) || !strings.Contains(string(record), "larger than configured max size 100000") {
		t.Errorf("large: %s, %v", record, err)
	}
	for _, id := range []string{"1", "3", "5"} {
		if record, err := p.Load(t.Context(), id); err != nil {
			t.Errorf("%s: %s, %v", id, record, err)
		}
	}
}

// TestConnectionsAreCut: what is stored meanwhile arrives, however often connections go.
func TestConnectionsAreCut(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t)
	p := opened(t, rpcbackend.Config{URL: v.URL()})
	const tasks = 400
	stored := make(chan error, 1)
	go func() {
		for i := range tasks {
			record := backendtest.Record("SUCCESS", fmt.Sprint(i), "1")
			for p.Store(t.Context(), record) != nil {
				if t.Context().Err() != nil {
					stored <- t.Context().Err()
					return
				}
			}
		}
		stored <- nil
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range tasks {
		if i%100 == 50 {
			v.CloseConnections(t)
		}
		if _, err := p.Wait(ctx, fmt.Sprint(i)); err != nil {
			t.Fatalf("task %d: %v", i, err)
		}
	}
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	if _, err := p.LoadMany(ctx, "0", "399"); err != nil {
		t.Fatal(err)
	}
}

// TestQueueIsDeleted: it is there again, and Close leaves nothing.
func TestQueueIsDeleted(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t)
	p := opened(t, rpcbackend.Config{URL: v.URL()})
	waited := make(chan error, 1)
	go func() {
		_, err := p.Wait(t.Context(), "1")
		waited <- err
	}()
	if _, err := p.Load(t.Context(), "none"); !errors.Is(err, backend.ErrNotFound) {
		t.Fatal(err)
	}
	v.DeleteQueue(t, p.inbox.ReplyTo())
	if _, err := p.Load(t.Context(), "none"); !errors.Is(err, backend.ErrNotFound) {
		t.Fatal(err)
	}
	if err := p.Store(t.Context(), backendtest.Record("SUCCESS", "1", "1")); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	queues := v.Queues(t)
	if q, there := queues[p.inbox.ReplyTo()]; !there || len(queues) != 1 {
		t.Errorf("%+v, %+v", q, queues)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if queues := v.Queues(t); len(queues) > 0 {
		t.Errorf("%+v", queues)
	}
}

// TestAlarm: what is stored while the broker takes nothing arrives when it does.
func TestAlarm(t *testing.T) {
	t.Parallel()
	server := rabbittest.Start(t)
	p := opened(t, rpcbackend.Config{URL: server.VHost(t).URL()})
	const tasks = 100
	server.Alarm(t)
	stored := make(chan error, 1)
	go func() {
		for i := range tasks {
			if err := p.Store(t.Context(), backendtest.Record("SUCCESS", fmt.Sprint(i), "1")); err != nil {
				stored <- err
				return
			}
		}
		stored <- nil
	}()
	select {
	case err := <-stored:
		t.Fatalf("stored: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	server.Calm(t)
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	for i := range tasks {
		if _, err := p.Load(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnreadable: who waits for a record that nobody can read is told.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	url := rabbittest.New(t).URL()
	p := opened(t, rpcbackend.Config{URL: url})
	ch := rabbittest.Channel(t, url)
	for id, m := range map[string]amqp.Publishing{
		"type": {ContentType: "application/x-ruby", Body: []byte("1")}, "json": {ContentType: "application/json", Body: []byte("{")},
		"pickle": {ContentType: "application/x-python-serialize", Body: []byte("cos\nsystem\n(S'true'\ntR.")},
	} {
		m.CorrelationId = id
		if err := ch.Publish("", p.inbox.ReplyTo(), false, false, m); err != nil {
			t.Fatal(err)
		}
		if record, err := p.Wait(t.Context(), id); !errors.Is(err, backend.ErrUnreadable) || !strings.Contains(err.Error(), id) {
			t.Errorf("%s: %s, %v", id, record, err)
		}
		if record, err := p.Load(t.Context(), id); !errors.Is(err, backend.ErrUnreadable) {
			t.Errorf("%s: %s, %v", id, record, err)
		}
	}
}

// TestRoom: the oldest records go that nobody waits for.
func TestRoom(t *testing.T) {
	t.Parallel()
	cfg := rpcbackend.Config{URL: rabbittest.New(t).URL()}
	cfg.MaxKept = 2000
	p := opened(t, cfg)
	for i := range 10 {
		if err := p.Store(t.Context(), backendtest.Record("SUCCESS", fmt.Sprint(i), "1")); err != nil {
			t.Fatal(err)
		}
	}
	records, err := p.LoadMany(t.Context(), "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	if err != nil {
		t.Fatal(err)
	}
	var there []bool
	for _, record := range records {
		there = append(there, record != nil)
	}
	if diff := cmp.Diff([]bool{false, false, false, false, false, true, true, true, true, true}, there); diff != "" {
		t.Error(diff)
	}
}

// TestOnlySenderIsTold: who asks for the result of another's task learns why it does not come.
func TestOnlySenderIsTold(t *testing.T) {
	t.Parallel()
	p := opened(t, rpcbackend.Config{URL: rabbittest.New(t).URL()})
	const why = "over rpc:// it comes only to the client that has sent the task"
	if _, err := p.Load(t.Context(), "foreign"); !errors.Is(err, backend.ErrNotFound) || !strings.Contains(err.Error(), why) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Wait(ctx, "foreign"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), why) {
		t.Error(err)
	}
}

// TestNobodyIsThere: what cannot connect says so.
func TestNobodyIsThere(t *testing.T) {
	t.Parallel()
	p := newPair(t, rpcbackend.Config{URL: "amqp://127.0.0.1:1"})
	if err := p.sender.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing listens there") {
		t.Error(err)
	}
	if err := p.inbox.Receive(t.Context()); err == nil {
		t.Error("received")
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if err := p.inbox.Receive(t.Context()); !errors.Is(err, backend.ErrClosed) {
		t.Error(err)
	}
	if err := p.sender.Store(t.Context()); !errors.Is(err, backend.ErrClosed) {
		t.Error(err)
	}
	for what, cfg := range map[string]rpcbackend.Config{
		`unknown serializer "ruby"`: {URL: "amqp://", Serializer: "ruby"}, "it should start with amqp://": {URL: "localhost"},
	} {
		if _, err := rpcbackend.NewSender(cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v\nwant %s", err, what)
		}
	}
	if _, err := rpcbackend.NewInbox(rpcbackend.Config{}); err == nil {
		t.Error("there is an inbox without a URL")
	}
}
