package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// Every message goes to its place, and what takes long to decode goes to those that wait for it.
func TestIntakeSendsEachWhereItBelongs(t *testing.T) {
	t.Parallel()
	var n notes
	reg := tasks.NewRegistry()
	reg.Register("app.add", func() {})
	reg.Register("app.limited", func() {}, tasks.RateLimit("1/h"))
	rn := newRunner(&Config{Concurrency: 1, PrefetchMultiplier: 4, Logger: noLog.Logger}, false, runnerDeps{log: noLog, decoder: &protocol.Decoder{}, unstarted: &givenBack{}})
	accept, err := protocol.NewAccept("json")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &Config{Registry: reg, Consumer: &deadbroker{}, Logger: noLog.Logger}
	in := &intake{
		decoder: &protocol.Decoder{Accept: accept}, hostname: "celery@test", leases: newLeases(cfg, broker.Abilities{Leaser: &deadbroker{}}), runner: rn,
		start: n.does("start"), giveBack: n.does("give back"), refusals: newTestRefusals(), unknown: newTestUnknown(&n, tasks.UnknownPolicy{}),
		limits: &limits{start: n.does("start"), parks: func() bool { return false }}, schedule: newTestSchedule(&n, &deadbroker{}),
		hooks: newHooks(cfg, noLog), observers: observers{watch{&n}}, log: noLog, again: &comesAgain{},
	}
	in.gate = gate{revocations: in.refusals.revocations, maxRedeliveries: 3, runner: rn}
	in.tasks = newTaskConfigs(cfg, tasks.NewRegistry(), in.limits, rn)
	in.plans = newClaimPlans(rn, false)
	in.large = newLarge(in.decodeLarge)
	in.refusals.revocations.note("revoked")
	later := protocol.FormatTime(time.Now().Add(30 * time.Second))
	message := func(headers string) broker.Delivery {
		return broker.Delivery{Tag: headers, Queue: "celery", Content: broker.Deliver(&protocol.Message{
			Headers: []byte(headers), Body: []byte(`[[], {}, {}]`), ContentType: "application/json", ContentEncoding: "utf-8",
		}, protocol.Info{})}
	}
	for _, test := range []struct {
		headers  string
		unparked bool
		runs     bool
		want     []string
	}{
		{`{"task": "app.add", "id": "1"}`, false, true, []string{"0 1", "start 1"}},
		{`{"task": "app.add", "id": "2"}`, true, true, []string{"start 2"}}, // it was announced before
		{`{"task": "app.add", "id": "3", "eta": "` + later + `"}`, false, false, []string{"0 3"}},
		{`{"task": "app.limited", "id": "4"}`, false, false, []string{"0 4", "start 4"}},
		{`{"task": "app.limited", "id": "5"}`, false, false, []string{"0 5"}},
		{`{"task": "app.add", "id": "revoked"}`, false, false, []string{"revoked is revoked, expired: false", "late revoked"}},
		{`{"task": "app.missing", "id": "6"}`, false, false, []string{"fail 6"}},
		{`{"task": "app.add", "id": "7", "eta": "nonsense"}`, false, false, nil},
	} {
		runs := in.receive(message(test.headers), test.unparked)
		got := append(n.take(), in.refusals.handedOver()...)
		if test.want == nil { // what exactly is wrong is a matter of the decoder
			if len(got) == 0 || got[0] != "7 fails: ValueError" && got[0] != "7 fails: InvalidTaskError" {
				t.Errorf("%s: %q", test.headers, got)
			}
			continue
		}
		if !slices.Equal(got, test.want) || runs != test.runs {
			t.Errorf("%s: %q, runs %t; want %q, %t", test.headers, got, runs, test.want, test.runs)
		}
	}
	if s, l := in.schedule.memory.len(), in.limits.waiting(); s != 1 || l != 1 {
		t.Errorf("%d wait for their ETA and %d for their turn", s, l)
	}
	big := message(`{"task": "app.add", "id": "8"}`)
	big.Size = largeFrom
	if !in.receive(big, false) || len(n.take()) > 0 || rn.rooms()[0].want != 3 {
		t.Errorf("what takes long to decode does not wait, or is not counted: there is room for %d", rn.rooms()[0].want)
	}
	in.decodeLarge(t.Context(), in.large.next())
	if got := n.take(); !slices.Equal(got, []string{"0 8", "start 8"}) || rn.rooms()[0].want != 4 {
		t.Errorf("decoded: %q, and there is room for %d", got, rn.rooms()[0].want)
	}
}
