package redisbackend_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/internal/redistest"
)

// TestResultCompression: everything that a backend does, with records that are stored
// compressed, and read by one that does not compress.
func TestResultCompression(t *testing.T) {
	t.Parallel()
	backendtest.Run(t, features, func(t *testing.T) backend.Store {
		return open(t, redistest.Start(t).URL(1), redisbackend.Config{Compression: "gzip"})
	})
	s := redistest.Start(t)
	writer, reader := open(t, s.URL(0), redisbackend.Config{Compression: "bzip2"}), open(t, s.URL(0), redisbackend.Config{})
	record := backend.Record{TaskID: "id", Document: []byte(`{"status": "SUCCESS", "result": 1, "task_id": "id"}`)}
	if err := writer.Store(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	raw, err := redis.Bytes(s.Dial(t, 0).Do("GET", "celery-task-meta-id"))
	if want := []byte("\x00celery-compressed\x00application/x-bz2\x00BZh"); err != nil || !bytes.HasPrefix(raw, want) {
		t.Errorf("stored: %q, %v; want it to begin with %q", raw, err, want)
	}
	if got, err := reader.Load(t.Context(), "id"); err != nil || !bytes.Equal(got, record.Document) {
		t.Errorf("read: %s, %v", got, err)
	}
}

// TestFailureExpires: records of failures have their own time to live, and the order in
// which records are given holds.
func TestFailureExpires(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{Expires: time.Hour, FailureExpires: time.Minute})
	record := func(id, state string) backend.Record {
		return backend.Record{TaskID: id, Document: []byte(`{"status": "` + state + `", "result": null, "task_id": "` + id + `"}`)}
	}
	err := b.Store(t.Context(), record("a", "STARTED"), record("a", "FAILURE"), record("b", "SUCCESS"), record("c", "FAILURE"), record("c", "RETRY"))
	if err != nil {
		t.Fatal(err)
	}
	conn := s.Dial(t, 0)
	for id, want := range map[string]struct {
		state string
		ttl   int
	}{"a": {"FAILURE", 60}, "b": {"SUCCESS", 3600}, "c": {"RETRY", 3600}} {
		ttl, err := redis.Int(conn.Do("TTL", "celery-task-meta-"+id))
		if err != nil || ttl > want.ttl || ttl < want.ttl-10 {
			t.Errorf("TTL of %s: %d, %v; want %d", id, ttl, err, want.ttl)
		}
		document, err := b.Load(t.Context(), id)
		if state, stateErr := backend.State(document); err != nil || stateErr != nil || string(state) != want.state {
			t.Errorf("state of %s: %s, %v, %v; want %s", id, state, err, stateErr, want.state)
		}
	}
}
