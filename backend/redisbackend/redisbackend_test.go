package redisbackend_test

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/internal/redistest"
)

func open(tb testing.TB, url string, cfg redisbackend.Config) *redisbackend.Backend {
	tb.Helper()
	cfg.URL, cfg.ChordLease = url, cmp.Or(cfg.ChordLease, 10*time.Second) // as on a busy machine the default is too short for some tests
	b, err := redisbackend.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

var features = backendtest.Features{Loads: true, Chords: true, Groups: true, Verbatim: true, Encodes: true}

func TestBackend(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, features, func(t *testing.T) backend.Store {
		return open(t, redistest.Start(t).URL(1), redisbackend.Config{})
	})
}

// On a node of a cluster all works, if all keys have one hash tag and the node has its slot.
func TestBackendOnCluster(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, features, func(t *testing.T) backend.Store {
		return open(t, redistest.Start(t, redistest.Cluster()).URL(0), redisbackend.Config{GlobalKeyprefix: "{celery}."})
	})
}

func TestOldRedis(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, features, func(t *testing.T) backend.Store {
		return open(t, redistest.Start(t, redistest.Redis32()).URL(1), redisbackend.Config{})
	})
}

func TestKeyAndExpiry(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	conn := s.Dial(t, 0)
	for _, test := range []struct {
		prefix  string
		expires time.Duration
		key     string
		ttl     int // -1: for ever
	}{
		{"", 0, "celery-task-meta-id", 86400},
		{"", 90*time.Second + 900*time.Millisecond, "celery-task-meta-id", 90},
		{"", -1, "celery-task-meta-id", -1},
		{"", time.Millisecond, "celery-task-meta-id", -1},
		{"app", 0, "app_celery-task-meta-id", 86400},
		{"app:", 0, "app:celery-task-meta-id", 86400},
		{"app_", 0, "app_celery-task-meta-id", 86400},
		{"app-", 0, "app-celery-task-meta-id", 86400},
		{"app.", 0, "app.celery-task-meta-id", 86400},
		{"{app}", 0, "{app}_celery-task-meta-id", 86400},
	} {
		s.Do(t, "FLUSHALL")
		b := open(t, s.URL(0), redisbackend.Config{Expires: test.expires, GlobalKeyprefix: test.prefix})
		for _, state := range []string{"STARTED", "SUCCESS"} {
			if err := b.Store(t.Context(), backendtest.Record(state, "id", "1")); err != nil {
				t.Fatal(err)
			}
		}
		keys, _ := redis.Strings(conn.Do("KEYS", "*celery*"))
		ttl, _ := redis.Int(conn.Do("TTL", test.key))
		if len(keys) != 1 || keys[0] != test.key || ttl > test.ttl || ttl < test.ttl-20 {
			t.Errorf("prefix %q, expires %v: keys %q, TTL %d; want %q, %d", test.prefix, test.expires, keys, ttl, test.key, test.ttl)
		}
	}
}

// TestPublish looks at what a Python client that waits is sent.
func TestPublish(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(5), redisbackend.Config{})
	ps := redis.PubSubConn{Conn: s.Dial(t, 0)}
	if err := ps.Subscribe("celery-task-meta-id"); err != nil {
		t.Fatal(err)
	}
	ps.Receive()
	started, done := backendtest.Record("STARTED", "id", "1"), backendtest.Record("SUCCESS", "id", "1")
	refused := backendtest.Record("FAILURE", "id", "1")
	for _, record := range []backend.Record{started, done, refused, done} {
		if err := b.Store(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []backend.Record{started, done, done} {
		m, ok := ps.ReceiveWithTimeout(time.Minute).(redis.Message)
		if !ok || !bytes.Equal(m.Data, want.Document) {
			t.Fatalf("published %s\nwant      %s", m.Data, want.Document)
		}
	}
}

// TestLargeRecords: a large result of a task that has no record is stored without a script, and all else holds for it as for others: it
// takes the place of what is no SUCCESS, the first SUCCESS stays, and clients hear of each that is stored, and of the first again when another is not.
func TestLargeRecords(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{Expires: time.Hour})
	large := func(state, id, letter string) backend.Record {
		return backendtest.Record(state, id, `"`+strings.Repeat(letter, 100_000)+`"`)
	}
	first, second, small := large("SUCCESS", "a", "1"), large("SUCCESS", "b", "2"), backendtest.Record("SUCCESS", "c", "3")
	scripts := func() bool { return bytes.Contains(s.Do(t, "INFO", "commandstats").([]byte), []byte("cmdstat_eval")) }
	ps := redis.PubSubConn{Conn: s.Dial(t, 0)}
	if err := ps.PSubscribe("celery-task-meta-*"); err != nil {
		t.Fatal(err)
	}
	ps.Receive()
	hear := func(wants ...backend.Record) {
		t.Helper()
		heard := map[string]int{}
		for range wants {
			m, ok := ps.ReceiveWithTimeout(time.Minute).(redis.Message)
			if !ok {
				t.Fatalf("%d records were published, want %d", len(heard), len(wants))
			}
			heard[m.Channel+" "+string(m.Data)]++
		}
		for _, want := range wants {
			if heard["celery-task-meta-"+want.TaskID+" "+string(want.Document)] != 1 {
				t.Errorf("%.60s… of task %s was not published once", want.Document, want.TaskID)
			}
		}
	}
	store := func(records ...backend.Record) {
		t.Helper()
		if err := b.Store(t.Context(), records...); err != nil {
			t.Fatal(err)
		}
	}
	stays := func(want backend.Record) {
		t.Helper()
		got, _ := s.Do(t, "GET", "celery-task-meta-"+want.TaskID).([]byte)
		if ttl, _ := s.Do(t, "TTL", "celery-task-meta-"+want.TaskID).(int64); !bytes.Equal(got, want.Document) || ttl < 3000 || ttl > 3600 {
			t.Errorf("task %s has %.60s…, for %d s", want.TaskID, got, ttl)
		}
	}
	s.Do(t, "CONFIG", "RESETSTAT")
	store(first)
	hear(first)
	stays(first)
	if scripts() {
		t.Error("a script has stored it")
	}
	started := large("STARTED", "b", "0")
	store(started, small)
	hear(started, small)
	if !scripts() {
		t.Error("no script is seen")
	}
	store(second, large("SUCCESS", "a", "4"), backendtest.Record("SUCCESS", "d", "5"))
	hear(second, first, backendtest.Record("SUCCESS", "d", "5"))
	store(second)
	hear(second)
	store(large("FAILURE", "a", "6"))
	hear(first)
	stays(first)
	stays(second)
}

func TestRefusedRecords(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	good := backendtest.Record("SUCCESS", "good", "1")
	s.Do(t, "LPUSH", "celery-task-meta-list", "x")
	err := b.Store(t.Context(), backend.Record{TaskID: "big", Document: make([]byte, 512<<20+1)},
		backendtest.Record("SUCCESS", "list", "1"), good)
	var one *backend.RecordError
	if !errors.As(err, &one) || one.TaskID != "big" ||
		!strings.Contains(err.Error(), "512 MiB") || !strings.Contains(err.Error(), "task list: WRONGTYPE") {
		t.Errorf("Store: %v", err)
	}
	if got, err := b.Load(t.Context(), "good"); err != nil || !bytes.Equal(got, good.Document) {
		t.Errorf("Load of the good one: %s, %v", got, err)
	}
}

func compressed(tb testing.TB, record backend.Record) []byte {
	tb.Helper()
	buf := bytes.NewBufferString("\x00celery-compressed\x00application/x-gzip\x00")
	w := zlib.NewWriter(buf)
	w.Write(record.Document)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// TestCompressed meets records of a Python worker with result_compression.
func TestCompressed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	key := "celery-task-meta-id"
	for _, test := range []struct {
		state  string
		stored bool
	}{{"SUCCESS", false}, {"FAILURE", true}, {"STARTED", true}} {
		old := backendtest.Record(test.state, "id", "1")
		s.Do(t, "SET", key, compressed(t, old))
		if got, err := b.Load(t.Context(), "id"); err != nil || !bytes.Equal(got, old.Document) {
			t.Fatalf("Load: %s, %v", got, err)
		}
		later := backendtest.Record("FAILURE", "id", "2")
		if err := b.Store(t.Context(), later); err != nil {
			t.Fatal(err)
		}
		got, err := b.Load(t.Context(), "id")
		if stored := bytes.Equal(got, later.Document); err != nil || stored != test.stored {
			t.Errorf("Store over %s: %t, %v", test.state, stored, err)
		}
	}
	s.Do(t, "SET", key, "\x00celery-compressed\x00application/zstd\x00xx")
	if _, err := b.Load(t.Context(), "id"); !errors.Is(err, backend.ErrUnreadable) || !strings.Contains(err.Error(), "application/zstd") {
		t.Errorf("Load of a zstd record: %v", err)
	}
	s.Do(t, "SET", key, "\x00celery-compressed\x00application/x-gzip\x00xx")
	if _, err := b.Load(t.Context(), "id"); err == nil {
		t.Error("a broken record was loaded")
	}
}

func TestWaitForCompressed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	want := backendtest.Record("SUCCESS", "id", "1")
	got := wait(t, b, "id")
	subscribed(t, s, "celery-task-meta-id", 1)
	s.Do(t, "PUBLISH", "celery-task-meta-id", compressed(t, want))
	if a := <-got; a.err != nil || !bytes.Equal(a.record, want.Document) {
		t.Fatalf("Wait: %s, %v", a.record, a.err)
	}
}

type answer struct {
	record []byte
	err    error
}

func wait(t *testing.T, b *redisbackend.Backend, id string) <-chan answer {
	t.Helper()
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	go func() {
		record, err := b.Wait(ctx, id)
		answers <- answer{record, err}
	}()
	return answers
}

// subscribed waits until a channel has a number of subscribers.
func subscribed(t *testing.T, s *redistest.Server, channel string, want int) {
	t.Helper()
	eventually(t, channel+" has its subscribers", func() bool {
		reply, _ := redis.Values(s.Do(t, "PUBSUB", "NUMSUB", channel), nil)
		n, _ := redis.Int(reply[1], nil)
		return n == want
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 2 min: %s", what)
		}
	}
}

func TestWaitUnsubscribes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	one, two := wait(t, b, "id"), wait(t, b, "id")
	subscribed(t, s, "celery-task-meta-id", 1)
	if err := b.Store(t.Context(), backendtest.Record("REVOKED", "id", "1")); err != nil {
		t.Fatal(err)
	}
	<-one
	<-two
	subscribed(t, s, "celery-task-meta-id", 0)
}

// TestManyWaits has thousands of calls wait on one connection; another is for all else.
func TestManyWaits(t *testing.T) {
	t.Parallel()
	const waits = 5000
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	records := make([]backend.Record, waits)
	ids := make([]string, waits)
	for i := range records {
		ids[i] = fmt.Sprint(i)
		records[i] = backendtest.Record("SUCCESS", ids[i], ids[i])
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	go func() {
		got, err := backend.WaitAll(ctx, b, ids...)
		for i := range got {
			if err == nil && !bytes.Equal(got[i], records[i].Document) {
				err = fmt.Errorf("task %d: %s", i, got[i])
			}
		}
		done <- err
	}()
	subscribed(t, s, fmt.Sprint("celery-task-meta-", waits-1), 1)
	eventually(t, "there are two connections", func() bool { // a third may ask whether the server still answers
		clients, _ := redis.String(s.Do(t, "CLIENT", "LIST"), nil)
		return strings.Count(clients, " addr=127.0.0.1") == 2 // the test's own are on the socket
	})
	if err := b.Store(ctx, records...); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestWaitThroughOutage has the result arrive while Wait has no connection.
func TestWaitThroughOutage(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{})
	missed, later := wait(t, b, "missed"), wait(t, b, "later")
	subscribed(t, s, "celery-task-meta-missed", 1)
	subscribed(t, s, "celery-task-meta-later", 1)

	done := backendtest.Record("SUCCESS", "missed", "1")
	s.Do(t, "SET", "celery-task-meta-missed", done.Document) // without PUBLISH: nobody hears of it
	s.Save(t)
	s.Restart(t)
	if a := <-missed; a.err != nil || !bytes.Equal(a.record, done.Document) {
		t.Fatalf("Wait: %s, %v", a.record, a.err)
	}
	done = backendtest.Record("SUCCESS", "later", "1")
	eventually(t, "stored", func() bool {
		err := b.Store(t.Context(), done)
		if err != nil && !redisconn.IsRetryable(err) {
			t.Fatal(err)
		}
		return err == nil
	})
	if a := <-later; a.err != nil || !bytes.Equal(a.record, done.Document) {
		t.Fatalf("Wait: %s, %v", a.record, a.err)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	if _, err := redisbackend.New(redisbackend.Config{}); err == nil {
		t.Error("New without Redis succeeded")
	}
	s := redistest.Start(t, redistest.Password("right"))
	b := open(t, strings.Replace(s.URL(0), "right", "wrong", 1), redisbackend.Config{})
	if err := b.Ping(t.Context()); !redisconn.IsConfig(err) {
		t.Errorf("Ping with a wrong password: %v", err)
	}
	if _, err := b.Wait(t.Context(), "id"); !redisconn.IsConfig(err) {
		t.Errorf("Wait with a wrong password: %v", err)
	}
	if _, err := b.Load(t.Context(), "id"); errors.Is(err, backend.ErrNotFound) {
		t.Errorf("Load with a wrong password: %v", err)
	}
}

// Whoever may not subscribe looks from time to time.
func TestWaitWithoutChannels(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do(t, "ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "resetchannels")
	b := open(t, "redis://mute:pw@"+s.Addr(), redisbackend.Config{})
	s.Do(t, "SET", "celery-task-meta-a", `{"status": "SUCCESS", "result": 1, "task_id": "a"}`)
	record, err := b.Wait(t.Context(), "a")
	if err != nil || !strings.Contains(string(record), "SUCCESS") {
		t.Errorf("%s, %v", record, err)
	}
}
