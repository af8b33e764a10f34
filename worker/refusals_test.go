package worker

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

func newTestRefusals() *refusals {
	log, decoder := noLog, &protocol.Decoder{}
	calls := newHooks(&Config{Registry: tasks.NewRegistry()}, log)
	cfg := &Config{Hostname: "w@h", Location: time.UTC}
	return &refusals{
		decoder: decoder, revocations: &revocations{ids: newMemory(10, time.Hour), log: log}, stores: true, buries: true,
		answers: &answers{outcomes: newOutcomes(cfg, backend.Abilities{}, nil, decoder), log: log, hooks: calls},
		settler: &settler{queue: make(chan settlement, 10)}, hooks: calls, log: log,
	}
}

// handedOver tells what the settler was given: what becomes of tasks, and of their messages.
func (f *refusals) handedOver() []string {
	var n notes
	for len(f.settler.queue) > 0 {
		s := <-f.settler.queue
		switch s.end.kind {
		case Failed:
			n.add("%s fails: %s", s.req.ID, s.end.exception.Type)
		case Revoked:
			n.add("%s is revoked, expired: %t", s.req.ID, s.end.expired)
		default: // no task is concerned
		}
		n.settles(s)
	}
	return n.take()
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	known := &taskConfig{}
	invalid := &protocol.InvalidTaskError{}
	for _, test := range []struct {
		name   string
		refuse func(*refusals)
		want   []string
	}{
		{
			"cannot be read", func(f *refusals) { f.refuse(task("1", nil), errors.New("no JSON")) },
			[]string{"burial 1: undecodable: no JSON"},
		},
		{
			"cannot be read, without dead letters", func(f *refusals) { f.buries = false; f.refuse(task("1", nil), errors.New("no JSON")) },
			[]string{"late 1"},
		},
		{
			"a known task with nonsense fails", func(f *refusals) { f.refuse(task("1", known), invalid) },
			[]string{"1 fails: InvalidTaskError", "burial 1: invalid: " + invalid.Error()},
		},
		{
			"expired", func(f *refusals) { f.discard(task("1", known), true) },
			[]string{"1 is revoked, expired: true", "late 1"},
		},
		{
			"revoked", func(f *refusals) { f.discard(task("1", known), false) },
			[]string{"1 is revoked, expired: false", "late 1"},
		},
		{
			"unknown", func(f *refusals) { f.failUnknown(task("1", nil)) },
			[]string{"1 fails: NotRegistered", "late 1"},
		},
		{
			"kills workers", func(f *refusals) { r := task("1", known); r.redeliveries = 3; f.buryPoison(r) },
			[]string{"1 fails: WorkerLostError", "burial 1: redelivered: given back 3 times because a worker died"},
		},
	} {
		f := newTestRefusals()
		test.refuse(f)
		if got := f.handedOver(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Before it starts, a request is looked at once more.
func TestDiscardLate(t *testing.T) {
	t.Parallel()
	f := newTestRefusals()
	fine, gone, stamped, expired := task("fine", nil), task("gone", nil), task("stamped", nil), task("expired", nil)
	f.revocations.note("gone")
	f.revocations.stamps.add("customer", []byte(`"acme"`))
	stamped.StampedHeaders, stamped.Stamps = []string{"customer"}, []byte(`{"customer": ["acme", "globex"]}`)
	expired.Expires = time.Now().Add(-time.Second)
	for _, test := range []struct {
		r    *request
		want []string
	}{
		{fine, nil},
		{gone, []string{"gone is revoked, expired: false", "late gone"}},
		{stamped, []string{"stamped is revoked, expired: false", "late stamped"}},
		{expired, []string{"expired is revoked, expired: true", "late expired"}},
	} {
		discarded := f.discardLate(test.r)
		if got := f.handedOver(); !slices.Equal(got, test.want) || discarded != (test.want != nil) {
			t.Errorf("%s: %t, %q, want %q", test.r.ID, discarded, got, test.want)
		}
	}
	if !f.revocations.has("expired", time.Now()) {
		t.Error("what has expired is not remembered")
	}
}
