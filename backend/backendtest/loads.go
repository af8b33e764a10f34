package backendtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend"
)

// loadMany loads more than fits one of anybody's batches, and forgets them.
func loadMany(t *testing.T, ctx context.Context, b Backend) {
	const tasks = 3000
	ids := make([]string, tasks)
	var records []backend.Record
	for i := range ids {
		ids[i] = fmt.Sprint(i)
		if i%3 > 0 {
			records = append(records, Record("SUCCESS", ids[i], ids[i]))
		}
	}
	store(t, ctx, b, records...)
	got, err := b.LoadMany(ctx, ids...)
	if err != nil || len(got) != tasks {
		t.Fatalf("LoadMany: %d, %v", len(got), err)
	}
	for i, record := range got {
		var want string
		if i%3 > 0 {
			want = string(Record("SUCCESS", ids[i], ids[i]).Document)
		}
		if string(record) != want || (record == nil) != (want == "") {
			t.Fatalf("LoadMany: task %d: %q, want %q", i, record, want)
		}
	}
	if err := b.Forget(ctx, ids[1:]...); err != nil {
		t.Fatal(err)
	}
	store(t, ctx, b, Record("FAILURE", "1", "1")) // its SUCCESS is forgotten
	got, err = b.LoadMany(ctx, "1", "2", "2999")
	if err != nil || got[0] == nil || got[1] != nil || got[2] != nil {
		t.Fatalf("LoadMany after Forget: %q, %v", got, err)
	}
	if got, err := b.LoadMany(ctx); err != nil || len(got) != 0 {
		t.Fatalf("LoadMany of none: %q, %v", got, err)
	}
	if err := b.Forget(ctx); err != nil {
		t.Fatal(err)
	}
}

func watch(t *testing.T, ctx context.Context, b Backend) {
	started := Record("STARTED", "id", "1")
	store(t, ctx, b, started)
	seen := make(chan string, 100)
	type answer struct {
		record []byte
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		record, err := b.Watch(ctx, "id", func(record []byte) { seen <- string(record) })
		answers <- answer{record, err}
	}()
	want := []backend.Record{started}
	for i, state := range []string{"PROGRESS", "RETRY", "STARTED", "PROGRESS"} {
		want = append(want, Record(state, "id", fmt.Sprint(i)))
	}
	for i, record := range want {
		if i > 0 {
			store(t, ctx, b, record)
		}
		select {
		case got := <-seen:
			if got != string(record.Document) {
				t.Fatalf("Watch has shown %s\nwant %s", got, record.Document)
			}
		case <-ctx.Done():
			t.Fatalf("Watch has not shown %s", record.Document)
		}
	}
	done := Record("SUCCESS", "id", "1")
	store(t, ctx, b, done)
	if a := <-answers; a.err != nil || string(a.record) != string(done.Document) {
		t.Fatalf("Watch: %s, %v", a.record, a.err)
	}
}

// watchSlow has a watcher that is slower than the task: it misses states, but
// neither their order nor the end.
func watchSlow(t *testing.T, ctx context.Context, b Backend) {
	const states = 500
	store(t, ctx, b, Record("PROGRESS", "id", "0"))
	began := make(chan bool)
	stored := make(chan bool)
	var seen []string
	go func() {
		<-began
		defer close(stored)
		for i := 1; i < states; i++ {
			if err := b.Store(ctx, Record("PROGRESS", "id", fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		}
		if err := b.Store(ctx, Record("FAILURE", "id", "1")); err != nil {
			t.Error(err)
		}
	}()
	record, err := b.Watch(ctx, "id", func(record []byte) {
		if len(seen) == 0 {
			close(began)
			<-stored
		}
		seen = append(seen, string(record))
	})
	if err != nil || string(record) != string(Record("FAILURE", "id", "1").Document) {
		t.Fatalf("Watch: %s, %v", record, err)
	}
	last := -1
	for _, record := range seen {
		for i := last + 1; ; i++ {
			if i == states {
				t.Fatalf("Watch has shown %s after the one of %d", record, last)
			}
			if record == string(Record("PROGRESS", "id", fmt.Sprint(i)).Document) {
				last = i
				break
			}
		}
	}
}

func waitAll(t *testing.T, ctx context.Context, b Backend) {
	const tasks = 100
	ids := make([]string, tasks)
	want := make([]string, tasks)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
		want[i] = string(Record("SUCCESS", ids[i], ids[i]).Document)
	}
	for i := range tasks / 2 {
		store(t, ctx, b, Record("SUCCESS", ids[i], ids[i]))
	}
	store(t, ctx, b, Record("STARTED", "70", "1"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := tasks / 2; i < tasks; i++ {
			if err := b.Store(ctx, Record("SUCCESS", ids[i], ids[i])); err != nil {
				t.Error(err)
			}
		}
	})
	records, err := backend.WaitAll(ctx, b, ids...)
	wg.Wait()
	got := make([]string, len(records))
	for i, record := range records {
		got[i] = string(record)
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("WaitAll: %v\n%s", err, diff)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if _, err := backend.WaitAll(short, b, "1", "none"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitAll of a task that does not come: %v", err)
	}
}
