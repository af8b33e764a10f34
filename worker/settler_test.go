package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// ledger is broker and backend of a settler: it writes down what is done, in order.
type ledger struct {
	broker.Consumer // nil: what a settler does not call
	backend.Chords
	backend.Groups

	mu    sync.Mutex
	lines []string
	gone  []string // tags of somebody else's messages
	fails int      // how many calls fail first
}

var errGone = errors.New("the server is away")

func (l *ledger) did(what string, about ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.fails--
		return errGone
	}
	l.lines = append(l.lines, strings.TrimSpace(what+" "+strings.Join(about, " ")))
	return nil
}

func (l *ledger) Publish(_ context.Context, messages ...broker.Publication) error {
	var keys []string
	for _, m := range messages {
		keys = append(keys, m.RoutingKey)
	}
	return l.did("publish", keys...)
}

func (l *ledger) Store(_ context.Context, records ...backend.Record) error {
	var ids []string
	for _, r := range records {
		ids = append(ids, r.TaskID)
	}
	return l.did("store", ids...)
}

func (l *ledger) Count(_ context.Context, parts ...backend.ChordPart) ([]backend.ChordCount, error) {
	return make([]backend.ChordCount, len(parts)), l.did("count", parts[0].TaskID)
}

func (l *ledger) Ack(_ context.Context, tags ...string) ([]string, error) {
	lost := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !slices.Contains(l.gone, tag) })
	return lost, l.did("ack", tags...)
}

func (l *ledger) Requeue(_ context.Context, _ broker.Place, deliveries ...broker.Delivery) error {
	return l.did("requeue", deliveries[0].Tag)
}

func (l *ledger) Forward(_ context.Context, queue string, deliveries ...broker.Delivery) error {
	return l.did("forward", deliveries[0].Tag, "to", queue)
}

func (l *ledger) Bury(_ context.Context, letters ...broker.DeadLetter) error {
	return l.did("bury", letters[0].Tag, letters[0].Reason)
}

func (l *ledger) Park(_ context.Context, parked ...broker.Parked) ([]string, error) {
	return nil, l.did("park", parked[0].Tag)
}

func (l *ledger) Conclude(_ context.Context, conclusions ...broker.Conclusion) ([]string, error) {
	return nil, l.did("conclude", conclusions[0].Tag)
}

func (l *ledger) Due(context.Context, time.Time, int) ([]broker.Delivery, error) { return nil, nil }
func (l *ledger) Close() error                                                   { return nil }

// Observe writes down how tasks ended.
func (l *ledger) Observe(e Event) { _ = l.did("tell", e.Task.ID) }

// settlerBench is a settler that writes to a ledger.
func settlerBench(concludes bool) (*settler, *ledger) {
	l := &ledger{}
	log := taskLog{slog.New(slog.DiscardHandler)}
	p := &persister{log: log, stopping: make(chan struct{})}
	deps := settlerDeps{
		consumer: l, mover: l, parker: l, store: l, Backend: publish.Backend{Chords: l, Groups: l}, observers: observers{l},
		sender: newSender(l, &hooks{}, p),
		leases: newLeases(&Config{Consumer: l, Logger: log.Logger, Observers: []Observer{l}}, broker.Abilities{}),
		parked: func(context.Context, []*request) {},
	}
	if concludes {
		deps.concluder = l
	}
	return newSettler(deps, p), l
}

func (l *ledger) want(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.lines, want) {
		t.Errorf("done: %s\nwant: %s", strings.Join(l.lines, ", "), strings.Join(want, ", "))
	}
}

func requestOf(id string) *request {
	r := &request{tag: "tag-" + id}
	r.Request = tasks.Request{Task: &protocol.Task{ID: id}}
	return r
}

func to(queue string) publish.Message {
	return publish.Message{Publication: broker.Publication{RoutingKey: queue}, Task: &protocol.Task{}}
}

// TestOrderOfWriting is Celery's: what follows a success, the record, the chord, what follows a
// failure, and then the acknowledgement. Of a group each step is one call.
func TestOrderOfWriting(t *testing.T) {
	t.Parallel()
	s, l := settlerBench(false)
	var group []settlement
	for _, id := range []string{"a", "b"} {
		f := &flow{
			then: []publish.Message{to("errback-" + id)}, records: []backend.Record{{TaskID: "step-" + id}},
			parts: []part{{ChordPart: backend.ChordPart{TaskID: id}}},
		}
		f.Messages = []publish.Message{to("next-" + id)}
		group = append(group, settlement{req: requestOf(id), fate: late, record: []byte("{}"), flow: f, end: &outcome{kind: Failed}})
	}
	(&lane{settler: s}).write(t.Context(), group)
	l.want(t, "publish next-a next-b", "store a step-a b step-b", "count a", "publish errback-a errback-b", "ack tag-a tag-b", "tell a", "tell b")
}

// TestConclusion: what follows from a task goes with its acknowledgement, and only that.
func TestConclusion(t *testing.T) {
	t.Parallel()
	s, l := settlerBench(true)
	f := &flow{then: []publish.Message{to("errback")}}
	f.Messages = []publish.Message{to("next")}
	early := &flow{}
	early.Messages = []publish.Message{to("other")}
	(&lane{settler: s}).write(t.Context(), []settlement{
		{req: requestOf("a"), fate: late, record: []byte("{}"), flow: f},
		{req: requestOf("b"), fate: none, record: []byte("{}"), flow: early},
		{req: requestOf("c"), fate: late, record: []byte("{}")},
	})
	l.want(t, "publish other", "store a b c", "conclude tag-a", "ack tag-c")
}

// TestWhatBecomesOfAMessage: each fate is told when it has happened, but for what comes again:
// that is told before.
func TestWhatBecomesOfAMessage(t *testing.T) {
	t.Parallel()
	for fate, want := range map[fate][]string{
		none: {"tell a"}, late: {"ack tag-a", "tell a"}, requeue: {"requeue tag-a", "tell a"},
		forward: {"forward tag-a to other", "tell a"}, burial: {"bury tag-a why", "tell a", "tell a"}, park: {"park tag-a", "tell a"},
	} {
		s, l := settlerBench(true)
		(&lane{settler: s}).write(t.Context(), []settlement{{req: requestOf("a"), fate: fate, queue: "other", reason: "why", end: &outcome{kind: Ignored}}})
		l.want(t, want...)
	}
	s, l := settlerBench(true)
	(&lane{settler: s}).write(t.Context(), []settlement{{req: requestOf("a"), fate: requeue, end: &outcome{kind: Rejected, requeue: true}}})
	l.want(t, "tell a", "requeue tag-a")
}

// TestNothingIsWrittenForALostLease, but a success is stored: whoever runs the task now
// answers for all else.
func TestNothingIsWrittenForALostLease(t *testing.T) {
	t.Parallel()
	s, l := settlerBench(false)
	var group []settlement
	for _, kind := range []Kind{Succeeded, Failed} {
		f := &flow{parts: []part{{}}, records: []backend.Record{{TaskID: "step"}}, finish: []finisher{func(context.Context, *settlement) { t.Error("finished") }}}
		f.Messages = []publish.Message{to("next")}
		r := requestOf(kindName(kind))
		r.lost.Store(true)
		group = append(group, settlement{req: r, fate: late, record: []byte("{}"), flow: f, end: &outcome{kind: kind}})
	}
	(&lane{settler: s}).write(t.Context(), group)
	l.want(t, "store success", "tell success", "tell failure")
}

func kindName(kind Kind) string {
	if kind == Succeeded {
		return "success"
	}
	return "failure"
}

// TestLossIsNoticedAtTheAcknowledgement: what the broker does not acknowledge was given to others.
func TestLossIsNoticedAtTheAcknowledgement(t *testing.T) {
	t.Parallel()
	s, l := settlerBench(false)
	l.gone = []string{"tag-b"}
	a, b := requestOf("a"), requestOf("b")
	for _, r := range []*request{a, b} {
		s.leases.add(r)
	}
	(&lane{settler: s}).write(t.Context(), []settlement{{req: a, fate: late}, {req: b, fate: late}})
	if a.lost.Load() || !b.lost.Load() || s.leases.len() != 0 {
		t.Errorf("lost: %v and %v, and %d are still leased", a.lost.Load(), b.lost.Load(), s.leases.len())
	}
}

// TestWhatTakesLongerHoldsUpNobody: the rest of its settlement waits for it, others do not, and
// a shutdown waits for all.
func TestWhatTakesLongerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := settlerBench(false)
		slow := &flow{finish: []finisher{func(context.Context, *settlement) { time.Sleep(time.Minute) }}}
		s.settle(settlement{req: requestOf("slow"), fate: late, record: []byte("{}"), flow: slow})
		s.settle(settlement{req: requestOf("quick"), fate: late, record: []byte("{}")})
		done := make(chan struct{})
		go func() { defer close(done); s.run(t.Context()) }() // both are there: they are one group
		synctest.Wait()
		l.want(t, "store slow quick", "ack tag-quick")
		start := time.Now()
		s.await(t.Context())
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %v", waited)
		}
		l.want(t, "store slow quick", "ack tag-quick", "ack tag-slow")
		s.close()
		<-done
		s.settle(settlement{req: requestOf("late"), fate: late}) // is dropped
		s.await(t.Context())
	})
}

// TestAnUnreachableBackendStopsTheWorker: settling waits until it works, and when too much
// waits, so do those who hand over.
func TestAnUnreachableBackendStopsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := settlerBench(false)
		l.fails = 5
		done := make(chan struct{})
		go func() { defer close(done); s.run(t.Context()) }()
		handedOver := make(chan struct{})
		r := requestOf("a")
		s.settle(settlement{req: r, record: []byte("{}")})
		synctest.Wait() // it is being written
		go func() {
			defer close(handedOver)
			for range settleBacklog + 1 {
				s.settle(settlement{req: r, record: []byte("{}")})
			}
		}()
		synctest.Wait()
		select {
		case <-handedOver:
			t.Error("nobody waits")
		default:
		}
		if r.stuck.Load() != 1 {
			t.Error("the request is not known to be stuck")
		}
		<-handedOver
		s.await(t.Context())
		if n := s.done.Load(); n != 4 || r.stuck.Load() != 0 { // the first, and three groups
			t.Errorf("written in %d calls", n)
		}
		s.close()
		<-done
	})
}
