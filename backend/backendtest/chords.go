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
	"github.com/apium/apium/protocol"
)

// Part returns the part of the task with an index, which succeeded. Its result is
// the index.
func Part(groupID string, index int) backend.ChordPart {
	return backend.ChordPart{
		GroupID: groupID, Index: &index, TaskID: fmt.Sprint("task", index),
		State: protocol.Success, Result: fmt.Append(nil, index),
	}
}

// count counts parts and compares the states of their chords.
func count(t *testing.T, ctx context.Context, b Backend, want []backend.ChordState, parts ...backend.ChordPart) []backend.ChordCount {
	t.Helper()
	counts, err := b.Count(ctx, parts...)
	if err != nil {
		t.Fatalf("Count: %v", err)
	}
	var got []backend.ChordState
	for _, c := range counts {
		got = append(got, c.State)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Count(%v): %v\n%s", parts, counts, diff)
	}
	return counts
}

func setSize(t *testing.T, ctx context.Context, b Backend, size int) {
	t.Helper()
	if err := b.SetSize(ctx, "g", size); err != nil {
		t.Fatal(err)
	}
}

func finish(t *testing.T, ctx context.Context, b Backend, claim backend.ChordClaim) {
	t.Helper()
	if err := b.Finish(ctx, claim, false); err != nil {
		t.Fatalf("Finish: %v", err)
	}
}

// states makes the tables below shorter.
func states(s ...backend.ChordState) []backend.ChordState { return s }

func chordInOrder(t *testing.T, ctx context.Context, b Backend) {
	setSize(t, ctx, b, 4)
	failed := Part("g", 1)
	failed.State, failed.Result = protocol.Failure, []byte(`{"exc_type": "X"}`)
	unordered := Part("g", 9)
	unordered.Index, unordered.Result = nil, nil
	count(t, ctx, b, states(backend.ChordOpen, backend.ChordOpen), unordered, Part("g", 2))
	counts := count(t, ctx, b, states(backend.ChordOpen, backend.ChordComplete), failed, Part("g", 0))
	if c := counts[1]; c.Count != 4 || c.Total != 4 || c.Claim.GroupID != "g" || c.Claim.Token == "" {
		t.Errorf("the last part: %+v", c)
	}
	got, err := b.Results(ctx, "g")
	want := []backend.ChordResult{
		{TaskID: "task0", State: "SUCCESS", Result: []byte("0")},
		{TaskID: "task1", State: "FAILURE", Result: []byte(`{"exc_type": "X"}`)},
		{TaskID: "task2", State: "SUCCESS", Result: []byte("2")},
		{TaskID: "task9", State: "SUCCESS", Result: []byte("null")},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Results: %v\n%s", err, diff)
	}
	finish(t, ctx, b, counts[1].Claim)
	if got, err := b.Results(ctx, "g"); err != nil || len(got) != 0 {
		t.Errorf("Results after Finish: %v, %v", got, err)
	}
}

func chordDuplicates(t *testing.T, ctx context.Context, b Backend) {
	setSize(t, ctx, b, 3)
	again := Part("g", 0)
	again.Result = []byte(`"another"`)
	count(t, ctx, b, states(backend.ChordOpen, backend.ChordOpen, backend.ChordOpen), Part("g", 0), Part("g", 0), again)
	count(t, ctx, b, states(backend.ChordOpen), again)
	counts := count(t, ctx, b, states(backend.ChordOpen, backend.ChordComplete, backend.ChordClaimed),
		Part("g", 1), Part("g", 2), Part("g", 2))
	if c := counts[2]; c.Lease <= 0 || c.Lease > 10*time.Second || c.Claim != (backend.ChordClaim{}) {
		t.Errorf("claimed by somebody else: %+v", c)
	}
	if got, err := b.Results(ctx, "g"); err != nil || len(got) != 3 || string(got[0].Result) != "0" {
		t.Errorf("Results: %v, %v; want three, the first of each", got, err)
	}
	finish(t, ctx, b, counts[1].Claim)
	count(t, ctx, b, states(backend.ChordDone, backend.ChordDone), Part("g", 2), again)
	if err := b.Finish(ctx, counts[1].Claim, false); !errors.Is(err, backend.ErrClaimLost) {
		t.Errorf("second Finish: %v", err)
	}
}

// chordSameTask has one task twice in a header: a signature that was used again.
func chordSameTask(t *testing.T, ctx context.Context, b Backend) {
	setSize(t, ctx, b, 2)
	again := Part("g", 1)
	again.TaskID = "task0"
	count(t, ctx, b, states(backend.ChordOpen, backend.ChordComplete), Part("g", 0), again)
}

// chordTakenOver has the one who is to run the body die.
func chordTakenOver(t *testing.T, ctx context.Context, b Backend) {
	setSize(t, ctx, b, 1)
	first := count(t, ctx, b, states(backend.ChordComplete), Part("g", 0))[0]
	dead := first.Claim
	count(t, ctx, b, states(backend.ChordClaimed), Part("g", 0))
	if err := b.Renew(ctx, dead, 20*time.Millisecond); err != nil {
		t.Fatalf("Renew: %v", err)
	}
	var heir backend.ChordClaim
	for heir.Token == "" {
		counts, err := b.Count(ctx, Part("g", 0))
		if err != nil {
			t.Fatal(err)
		}
		if heir = counts[0].Claim; heir.Token == "" {
			pause(ctx, counts[0].Lease)
		} else if first.Again || !counts[0].Again {
			t.Errorf("counted before: %t, then %t", first.Again, counts[0].Again)
		}
	}
	late := map[string]error{"Renew": b.Renew(ctx, dead, time.Second), "Finish": b.Finish(ctx, dead, false)}
	taker, _ := b.Chords.(backend.ChordTaker)
	if taker != nil {
		late["TakeBody"] = taker.TakeBody(ctx, dead)
	}
	for name, err := range late {
		if !errors.Is(err, backend.ErrClaimLost) {
			t.Errorf("%s of the one who lost the claim: %v", name, err)
		}
	}
	if taker == nil {
		finish(t, ctx, b, heir)
		return
	}
	if err := taker.TakeBody(ctx, heir); err != nil {
		t.Errorf("TakeBody: %v", err)
	}
	count(t, ctx, b, states(backend.ChordDone), Part("g", 0))
	if err := taker.TakeBody(ctx, heir); !errors.Is(err, backend.ErrClaimLost) {
		t.Errorf("TakeBody of a chord that has ended: %v", err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// chordLate has the one who is to run the body be slow, but alone.
func chordLate(t *testing.T, ctx context.Context, b Backend) {
	setSize(t, ctx, b, 1)
	claim := count(t, ctx, b, states(backend.ChordComplete), Part("g", 0))[0].Claim
	for _, lease := range []time.Duration{time.Millisecond, time.Millisecond, time.Minute, time.Millisecond} {
		if err := b.Renew(ctx, claim, lease); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		if lease == time.Millisecond {
			pause(ctx, 5*time.Millisecond)
		}
	}
	finish(t, ctx, b, claim)
	count(t, ctx, b, states(backend.ChordDone), Part("g", 0))
}

func chordFailed(t *testing.T, ctx context.Context, b Backend) {
	setSize(t, ctx, b, 1)
	claim := count(t, ctx, b, states(backend.ChordComplete), Part("g", 0))[0].Claim
	if err := b.Finish(ctx, claim, true); err != nil {
		t.Fatal(err)
	}
	count(t, ctx, b, states(backend.ChordDone), Part("g", 0))
}

func chordSizes(t *testing.T, ctx context.Context, b Backend) {
	// Nobody has said how many: the parts wait.
	counts := count(t, ctx, b, states(backend.ChordOpen), Part("g", 0))
	if counts[0].Count != 1 || counts[0].Total != 0 {
		t.Errorf("without a size: %+v", counts[0])
	}
	// What is added while the chord runs, and a size that comes late.
	if err := b.Grow(ctx, "g", 1); err != nil {
		t.Fatal(err)
	}
	setSize(t, ctx, b, 2)
	count(t, ctx, b, states(backend.ChordOpen), Part("g", 1))
	if err := b.Grow(ctx, "g", 2); err != nil {
		t.Fatal(err)
	}
	counts = count(t, ctx, b, states(backend.ChordOpen, backend.ChordOpen, backend.ChordComplete),
		Part("g", 2), Part("g", 3), Part("g", 4))
	if c := counts[0]; c.Count != 3 || c.Total != 5 {
		t.Errorf("grown: %+v", c)
	}
	finish(t, ctx, b, counts[2].Claim)
	// A chord that is applied again with its old ids.
	setSize(t, ctx, b, 2)
	count(t, ctx, b, states(backend.ChordOpen, backend.ChordComplete), Part("g", 0), Part("g", 1))
	// Producers before Celery 5.1.
	old := Part("old", 0)
	old.Size = 1
	counts = count(t, ctx, b, states(backend.ChordComplete, backend.ChordClaimed), old, old)
	finish(t, ctx, b, counts[0].Claim)
	count(t, ctx, b, states(backend.ChordDone), old)
}

// chordsTogether counts the parts of several large chords in one call.
func chordsTogether(t *testing.T, ctx context.Context, b Backend) {
	const chords, size = 3, 1000
	var parts []backend.ChordPart
	for i := range size {
		for g := range chords {
			parts = append(parts, Part(fmt.Sprint("g", g), i))
		}
	}
	want := make([]backend.ChordState, len(parts))
	for g := range chords {
		if err := b.SetSize(ctx, fmt.Sprint("g", g), size); err != nil {
			t.Fatal(err)
		}
		want[len(want)-1-g] = backend.ChordComplete
	}
	count(t, ctx, b, want, parts...)
	for g := range chords {
		got, err := b.Results(ctx, fmt.Sprint("g", g))
		if err != nil || len(got) != size || got[size-1].TaskID != "task999" {
			t.Errorf("Results: %d, %v", len(got), err)
		}
	}
}

// chordRace has every part delivered many times at once.
func chordRace(t *testing.T, ctx context.Context, b Backend) {
	const counters, size = 50, 20
	setSize(t, ctx, b, size)
	var mu sync.Mutex
	var claims []backend.ChordClaim
	var wg sync.WaitGroup
	for n := range counters {
		wg.Go(func() {
			for i := range size {
				part := Part("g", (i+n)%size)
				part.Result = fmt.Append(nil, n)
				counts, err := b.Count(ctx, part)
				if err != nil {
					t.Error(err)
					return
				}
				if counts[0].State == backend.ChordComplete {
					if err := b.Renew(ctx, counts[0].Claim, patience); err != nil { // else it may run out on a busy machine
						t.Error(err)
					}
					mu.Lock()
					claims = append(claims, counts[0].Claim)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(claims) != 1 {
		t.Fatalf("%d were told to run the body, want 1", len(claims))
	}
	if got, err := b.Results(ctx, "g"); err != nil || len(got) != size {
		t.Errorf("Results: %d, %v; want %d", len(got), err, size)
	}
	finish(t, ctx, b, claims[0])
}

func partNotKept(t *testing.T, ctx context.Context, b Backend) {
	part := Part("g", 7)
	count(t, ctx, b, states(backend.ChordOpen), part)
	clear(part.Result)
	if got, err := b.Results(ctx, "g"); err != nil || string(got[0].Result) != "7" {
		t.Errorf("Results: %v, %v", got, err)
	}
}

func groupRecord(t *testing.T, ctx context.Context, b Backend) {
	if document, err := b.LoadGroup(ctx, "g"); !errors.Is(err, backend.ErrNotFound) {
		t.Fatalf("LoadGroup: %s, %v; want ErrNotFound", document, err)
	}
	want := `{"result": [["g", null], [[["1", null], null]]]}`
	if err := b.SaveGroup(ctx, "g", []byte(want)); err != nil {
		t.Fatal(err)
	}
	if got, err := b.LoadGroup(ctx, "g"); err != nil || string(got) != want {
		t.Fatalf("LoadGroup: %s, %v", got, err)
	}
	for range 2 {
		if err := b.DeleteGroup(ctx, "g"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.LoadGroup(ctx, "g"); !errors.Is(err, backend.ErrNotFound) {
		t.Fatalf("LoadGroup of a deleted one: %v", err)
	}
}
