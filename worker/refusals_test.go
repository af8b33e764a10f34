package worker

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

func newTestRefusals(n *notes) *refusals {
	return &refusals{
		revocations: &revocations{ids: newMemory(10, time.Hour), log: noLog}, stores: true, buries: true,
		failure: func(r *request, exc *protocol.Exception, _ time.Duration) settlement {
			n.add("%s fails: %s", r.ID, exc.Type)
			return settlement{req: r, end: &outcome{kind: Failed}}
		},
		revocation: func(r *request, reason string, _ bool) settlement {
			n.add("%s is revoked: %s", r.ID, reason)
			return settlement{req: r, fate: late, end: &outcome{kind: Revoked}}
		},
		record: func(*request, recordOf, bool) []byte { return []byte("{}") },
		settle: n.settles, hooks: newHooks(&Config{Registry: tasks.NewRegistry()}, noLog), log: noLog,
	}
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
			[]string{"1 is revoked: expired", "late 1"},
		},
		{
			"revoked", func(f *refusals) { f.discard(task("1", known), false) },
			[]string{"1 is revoked: revoked", "late 1"},
		},
		{
			"unknown", func(f *refusals) { f.failUnknown(task("1", nil)) },
			[]string{"late 1"},
		},
		{
			"kills workers", func(f *refusals) { r := task("1", known); r.redeliveries = 3; f.buryPoison(r) },
			[]string{"1 fails: WorkerLostError", "burial 1: redelivered: given back 3 times because a worker died"},
		},
	} {
		var n notes
		test.refuse(newTestRefusals(&n))
		if got := n.take(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Before it starts, a request is looked at once more.
func TestDiscardLate(t *testing.T) {
	t.Parallel()
	var n notes
	f := newTestRefusals(&n)
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
		{gone, []string{"gone is revoked: revoked", "late gone"}},
		{stamped, []string{"stamped is revoked: revoked", "late stamped"}},
		{expired, []string{"expired is revoked: expired", "late expired"}},
	} {
		discarded := f.discardLate(test.r)
		if got := n.take(); !slices.Equal(got, test.want) || discarded != (test.want != nil) {
			t.Errorf("%s: %t, %q, want %q", test.r.ID, discarded, got, test.want)
		}
	}
	if !f.revocations.has("expired", time.Now()) {
		t.Error("what has expired is not remembered")
	}
}
