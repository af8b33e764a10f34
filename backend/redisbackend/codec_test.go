package redisbackend_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/protocol"
)

var serializers = []string{"yaml", "msgpack", "pickle"}

func TestBackendInSerializers(t *testing.T) {
	t.Parallel()
	for _, name := range serializers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backendtest.Run(t, features, func(t *testing.T) backend.Store {
				return open(t, redistest.Start(t).URL(0), redisbackend.Config{Serializer: name})
			})
		})
	}
}

// The setting was changed: the records of before are read, and their SUCCESS is final.
func TestChangedSerializer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, name := range serializers {
		s.Do(t, "FLUSHALL")
		before := open(t, s.URL(0), redisbackend.Config{})
		b := open(t, s.URL(0), redisbackend.Config{Serializer: name})
		old := backendtest.Record("SUCCESS", "id", "1")
		if err := errors.Join(before.Store(t.Context(), old), b.Store(t.Context(), backendtest.Record("FAILURE", "id", "2"))); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Load(t.Context(), "id"); err != nil || !bytes.Equal(got, old.Document) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if err := b.Store(t.Context(), backendtest.Record("SUCCESS", "id3", "3")); err != nil {
			t.Fatal(err)
		}
		if stored, _ := redis.Bytes(s.Do(t, "GET", "celery-task-meta-id3"), nil); bytes.HasPrefix(stored, []byte(`{"status": "SUCCESS", "result": 3, "traceback"`)) && name != "yaml" {
			t.Errorf("%s: stored %s", name, stored)
		}
	}
}

// What nobody can read is no SUCCESS.
func TestGarbageRecords(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, name := range append([]string{"json"}, serializers...) {
		b := open(t, s.URL(0), redisbackend.Config{Serializer: name})
		s.Do(t, "SET", "celery-task-meta-id", "\xc1 is nothing")
		if _, err := b.Load(t.Context(), "id"); name != "json" && !errors.Is(err, backend.ErrUnreadable) {
			t.Errorf("%s: Load of garbage: %v", name, err)
		}
		later := backendtest.Record("FAILURE", "id", "4")
		if err := b.Store(t.Context(), later); err != nil {
			t.Errorf("%s: Store over garbage: %v", name, err)
		}
		if got, err := b.Load(t.Context(), "id"); err != nil || !bytes.Equal(got, later.Document) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// A result that the serializer does not have is refused; of an exception's arguments
// the text is kept.
func TestValuesOfSerializers(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	b := open(t, s.URL(0), redisbackend.Config{Serializer: "msgpack"})
	const decimal = `{"__type__": "decimal", "__value__": "1.10"}`
	if _, err := b.Encode(backend.Record{Document: []byte(`{"status": "SUCCESS", "result": ` + decimal + `}`)}); err == nil ||
		!strings.Contains(err.Error(), "can not serialize 'decimal.Decimal' object") {
		t.Errorf("Encode: %v", err)
	}
	var refused *backend.RecordError
	err := b.Store(t.Context(), backend.Record{TaskID: "bad", Document: []byte(`{"status": "SUCCESS", "result": ` + decimal + `}`)}, backendtest.Record("SUCCESS", "good", "1"))
	if !errors.As(err, &refused) || refused.TaskID != "bad" {
		t.Errorf("Store: %v", err)
	}
	if _, err := b.Load(t.Context(), "good"); err != nil {
		t.Errorf("Load of the good one: %v", err)
	}
	exception := protocol.Exception{Type: "ValueError", Module: "builtins", Message: []byte(`["bad", ` + decimal + `]`)}
	record := protocol.Result{State: protocol.Failure, Result: exception.Append(nil), TaskID: "failed"}
	if err := b.Store(t.Context(), backend.Record{TaskID: "failed", Document: record.Append(nil)}); err != nil {
		t.Fatal(err)
	}
	record = protocol.Result{
		State: protocol.Success, Result: []byte("1"), TaskID: "extended",
		Extended: &protocol.Extended{Args: []byte("[" + decimal + "]"), Kwargs: []byte(`{"a": 1}`)},
	}
	if err := b.Store(t.Context(), backend.Record{TaskID: "extended", Document: record.Append(nil)}); err != nil {
		t.Fatal(err)
	}
	stored, err := b.Load(t.Context(), "extended")
	if err != nil || !strings.Contains(string(stored), `"args": "[Decimal('1.10')]", "kwargs": {"a": 1}`) {
		t.Errorf("extended record: %s, %v", stored, err)
	}
	part := backendtest.Part("g", 0)
	part.State, part.Result = protocol.Failure, exception.Append(nil)
	if _, err := b.Count(t.Context(), part); err != nil {
		t.Fatal(err)
	}
	results, err := b.Results(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	stored, err = b.Load(t.Context(), "failed")
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range [][]byte{stored, results[0].Result} {
		if !bytes.Contains(got, []byte(`["bad", "Decimal('1.10')"]`)) {
			t.Errorf("stored %s", got)
		}
	}
}

// TestEncodedRecordsAreNotEncodedAgain: what Encode has made of a record is what is stored.
func TestEncodedRecordsAreNotEncodedAgain(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for name, cfg := range map[string]redisbackend.Config{"msgpack": {Serializer: "msgpack"}, "zlib": {Compression: "zlib"}} {
		b := open(t, s.URL(0), cfg)
		first, second := backendtest.Record("SUCCESS", name, "1"), backendtest.Record("SUCCESS", name, "2")
		encoded, err := b.Encode(first)
		if err != nil {
			t.Fatal(err)
		}
		second.Encoded = encoded.Encoded
		if err := b.Store(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Load(t.Context(), name); err != nil || !bytes.Equal(got, first.Document) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
