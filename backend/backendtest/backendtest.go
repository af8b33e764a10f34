// Package backendtest holds the tests every result backend passes.
package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/apium/apium/backend"
)

// patience is how long anything may take that should happen at once, on a machine that has much else to do.
const patience = 5 * time.Minute

// Record returns a task-meta record as Celery writes it. result is JSON.
func Record(status, taskID, result string) backend.Record {
	return backend.Record{TaskID: taskID, Document: fmt.Appendf(nil, `{"status": %q, "result": %s, "traceback": null, "children": [], `+
		`"date_done": "2026-11-23T07:05:15.108624+00:00", "task_id": %q}`, status, result, taskID)}
}

func store(t *testing.T, ctx context.Context, b Backend, records ...backend.Record) {
	t.Helper()
	if err := b.Store(ctx, records...); err != nil {
		t.Fatalf("Store: %v", err)
	}
}

func load(t *testing.T, ctx context.Context, b Backend, want backend.Record) {
	t.Helper()
	got, err := b.Load(ctx, want.TaskID)
	if err != nil || said(t, got) != said(t, want.Document) {
		t.Fatalf("Load: %s, %v\nwant  %s", got, err, want.Document)
	}
}

// said is a record without its spacing and escapes: a backend may store it in another
// serializer than JSON.
func said(t *testing.T, record []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(record, &v); err != nil {
		t.Fatalf("%v in %s", err, record)
	}
	return fmt.Sprintf("%#v", v)
}

func loadStored(t *testing.T, ctx context.Context, b Backend) {
	one, two := Record("SUCCESS", "1", `"é\u0000"`), Record("STARTED", "2", `{"pid": 1}`)
	store(t, ctx, b)
	store(t, ctx, b, one, two)
	load(t, ctx, b, one)
	load(t, ctx, b, two)
}

// groups stores more than fits one of anybody's batches, in order.
func groups(t *testing.T, ctx context.Context, b Backend) {
	var records []backend.Record
	for i := range 3000 {
		id := fmt.Sprint(i)
		records = append(records, Record("STARTED", id, "1"), Record("SUCCESS", id, "2"), Record("FAILURE", id, "3"))
	}
	store(t, ctx, b, records...)
	ids := make([]string, 0, len(records)/3)
	for i := 0; i < len(records); i += 3 {
		ids = append(ids, records[i].TaskID)
	}
	got, err := b.LoadMany(ctx, ids...)
	if err != nil {
		t.Fatal(err)
	}
	for i, record := range got {
		if want := records[3*i+1]; said(t, record) != said(t, want.Document) {
			t.Fatalf("LoadMany: %s\nwant  %s", record, want.Document)
		}
	}
}

func noRecord(t *testing.T, ctx context.Context, b Backend) {
	if record, err := b.Load(ctx, "none"); !errors.Is(err, backend.ErrNotFound) {
		t.Fatalf("Load: %s, %v; want ErrNotFound", record, err)
	}
}

func successIsFinal(t *testing.T, ctx context.Context, b Backend) {
	done := Record("SUCCESS", "id", "1")
	store(t, ctx, b, done)
	for _, later := range []backend.Record{
		Record("SUCCESS", "id", "2"), Record("FAILURE", "id", "1"), Record("STARTED", "id", "1"),
		done,
	} {
		store(t, ctx, b, later)
		load(t, ctx, b, done)
	}
}

func otherStates(t *testing.T, ctx context.Context, b Backend) {
	states := []string{"STARTED", "RETRY", "FAILURE", "REVOKED", "PROGRESS", "SUCCESSFUL", "FAILURE", "SUCCESS"}
	for i, state := range states {
		record := Record(state, "id", fmt.Sprint(i))
		store(t, ctx, b, record)
		load(t, ctx, b, record)
	}
}

func otherShapes(t *testing.T, ctx context.Context, b Backend) {
	done := Record("SUCCESS", "id", "1")
	store(t, ctx, b, done, backend.Record{TaskID: "id", Document: []byte("{}")})
	load(t, ctx, b, done)
	for i, test := range []struct {
		document string
		final    bool
	}{
		{`{"status":"SUCCESS","result":1}`, true},
		{`{"task_id": "x", "status": "SUCCESS", "result": 1}`, true},
		{`{"result": {"status": "SUCCESS"}, "status": "FAILURE"}`, false},
		{`{"status": "SUCCESS2", "result": "\"status\": \"SUCCESS\""}`, false},
		{`["SUCCESS"]`, false},
		{`7`, false},
	} {
		id := fmt.Sprint("id", i)
		old := backend.Record{TaskID: id, Document: []byte(test.document)}
		later := Record("FAILURE", id, "1")
		store(t, ctx, b, old)
		store(t, ctx, b, later)
		if test.final {
			load(t, ctx, b, old)
		} else {
			load(t, ctx, b, later)
		}
	}
}

func recordNotKept(t *testing.T, ctx context.Context, b Backend) {
	record := Record("SUCCESS", "id", "1")
	store(t, ctx, b, record)
	clear(record.Document)
	load(t, ctx, b, Record("SUCCESS", "id", "1"))
}

func waitThere(t *testing.T, ctx context.Context, b Backend) {
	for _, state := range []string{"SUCCESS", "FAILURE", "REVOKED"} {
		record := Record(state, state, "1")
		store(t, ctx, b, record)
		if got, err := b.Wait(ctx, state); err != nil || string(got) != string(record.Document) {
			t.Fatalf("Wait: %s, %v", got, err)
		}
	}
}

func waitPastUnready(t *testing.T, ctx context.Context, b Backend) {
	store(t, ctx, b, Record("STARTED", "id", "1"))
	type answer struct {
		record []byte
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		record, err := b.Wait(ctx, "id")
		answers <- answer{record, err}
	}()
	for _, state := range []string{"RETRY", "PROGRESS", "STARTED"} {
		store(t, ctx, b, Record(state, "id", "1"))
		select {
		case a := <-answers:
			t.Fatalf("Wait returned at %s: %s, %v", state, a.record, a.err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	done := Record("FAILURE", "id", "1")
	store(t, ctx, b, done)
	if a := <-answers; a.err != nil || string(a.record) != string(done.Document) {
		t.Fatalf("Wait: %s, %v", a.record, a.err)
	}
}

func manyWaiters(t *testing.T, ctx context.Context, b Backend) {
	const tasks, waiters = 20, 3
	var wg sync.WaitGroup
	for i := range tasks {
		id := fmt.Sprint(i)
		for range waiters {
			wg.Go(func() {
				got, err := b.Wait(ctx, id)
				if err != nil || string(got) != string(Record("SUCCESS", id, id).Document) {
					t.Errorf("Wait(%s): %s, %v", id, got, err)
				}
			})
		}
	}
	for i := range tasks {
		id := fmt.Sprint(i)
		store(t, ctx, b, Record("SUCCESS", id, id))
	}
	wg.Wait()
}

func waitInterrupted(t *testing.T, ctx context.Context, b Backend) {
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if record, err := b.Wait(short, "id"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Wait: %s, %v; want DeadlineExceeded", record, err)
	}
	// The one who waits again is woken.
	woken := make(chan error, 1)
	go func() {
		_, err := b.Wait(ctx, "id")
		woken <- err
	}()
	store(t, ctx, b, Record("SUCCESS", "id", "1"))
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
}

func closeEndsWaits(t *testing.T, ctx context.Context, b Backend) {
	waiting := make(chan error, 1)
	go func() {
		_, err := b.Wait(ctx, "id")
		waiting <- err
	}()
	select {
	case err := <-waiting:
		t.Fatalf("Wait returned early: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, backend.ErrClosed) {
		t.Fatalf("Wait: %v, want ErrClosed", err)
	}
	if err := b.Store(ctx, Record("SUCCESS", "id", "1")); !errors.Is(err, backend.ErrClosed) {
		t.Fatalf("Store: %v, want ErrClosed", err)
	}
	if _, err := b.Load(ctx, "id"); !errors.Is(err, backend.ErrClosed) {
		t.Fatalf("Load: %v, want ErrClosed", err)
	}
	if err := b.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
}

// concurrent has everybody race for the same tasks: what is loaded once stays.
func concurrent(t *testing.T, ctx context.Context, b Backend) {
	const tasks, writers = 20, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range tasks {
				id := fmt.Sprint(i)
				if err := b.Store(ctx, Record("SUCCESS", id, fmt.Sprint(w))); err != nil {
					t.Error(err)
					return
				}
				first, err := b.Load(ctx, id)
				if err != nil {
					t.Error(err)
					return
				}
				wg.Go(func() {
					if again, err := b.Load(ctx, id); err != nil || string(again) != string(first) {
						t.Errorf("first %s\nthen  %s, %v", first, again, err)
					}
				})
			}
		})
	}
	wg.Wait()
}
