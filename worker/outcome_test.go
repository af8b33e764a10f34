package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// outcomesBench is an outcomes with a task app.do, without worker, broker, backend or clock.
func outcomesBench(t *testing.T, opts ...tasks.Option) (*outcomes, *request) {
	t.Helper()
	reg := tasks.NewRegistry()
	reg.Register("app.do", func(...any) {}, append(opts, tasks.Params("*args"))...)
	cfg := &Config{Registry: reg}
	cfg.setDefaults()
	maker, err := newMaker(cfg, backend.Abilities{}, newHooks(cfg, taskLog{cfg.Logger}), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := newOutcomes(cfg, backend.Abilities{}, maker, new(protocol.Decoder))
	o.now = func() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }
	o.stores, o.publishes, o.keepsChords = true, true, true
	o.tasks = newTaskConfigs(cfg, tasks.NewRegistry(), new(limits), &runner{pools: []*pool{{}}})
	r := &request{task: o.tasks.of("app.do")}
	r.Task, r.Queue = &protocol.Task{Name: "app.do", ID: "the-id", RoutingKey: "celery", Args: []byte("[]"), Kwargs: []byte("{}")}, "celery"
	r.apply(o.stores)
	return o, r
}

// told is what an outcome says that log and hooks are to be told.
func told(end *outcome) string {
	names := map[remarkKind]string{
		raised: "raised", handlerError: "handler error", ignored: "ignored", rejected: "rejected", retried: "retried",
		hardLimit: "hard limit", chordRaised: "chord raised", somethingWrong: "wrong",
	}
	var lines []string
	for _, m := range end.remarks {
		lines = append(lines, strings.TrimSpace(names[m.kind]+" "+m.text))
	}
	return strings.Join(lines, ", ")
}

// TestWhatAnEndMeans: fate, state of the record, messages and remarks of all that a handler may
// return, of a task that is acknowledged early and one that is late.
func TestWhatAnEndMeans(t *testing.T) {
	t.Parallel()
	bad := tasks.Raise("ValueError", "bad")
	lost := &LostError{Status: "signal 9 (SIGKILL)"}
	tests := []struct {
		name     string
		ended    Outcome
		opts     []tasks.Option
		kind     Kind
		fate     fate // of one that is acknowledged late
		state    string
		messages int
		told     string
	}{
		{"success", Outcome{Result: 7}, nil, Succeeded, late, "SUCCESS", 0, ""},
		{"ignored result", Outcome{Result: 7}, []tasks.Option{tasks.IgnoreResult(true)}, Succeeded, late, "", 0, ""},
		{"no JSON", Outcome{Result: make(chan int)}, nil, Failed, late, "FAILURE", 0, "raised EncodeError("},
		{"failure", Outcome{Err: bad}, nil, Failed, late, "FAILURE", 0, "raised ValueError('bad')"},
		{"ignored failure", Outcome{Err: bad}, []tasks.Option{tasks.IgnoreResult(true)}, Failed, late, "", 0, "raised ValueError('bad')"},
		{"retry", Outcome{Err: tasks.Retry(bad, tasks.RetryCountdown(0))}, nil, Retried, late, "RETRY", 1, "retried Retry in 0s: ValueError('bad')"},
		{"one retry too many", Outcome{Err: tasks.Retry(bad)}, []tasks.Option{tasks.MaxRetries(0)}, Failed, late, "FAILURE", 0, "raised ValueError('bad')"},
		{"automatic retry", Outcome{Err: bad}, []tasks.Option{tasks.AutoRetry(func(error) bool { return true })}, Retried, late, "RETRY", 1, "retried Retry in "},
		{"ignore", Outcome{Err: tasks.Ignore()}, nil, Ignored, late, "", 0, "ignored"},
		{"reject", Outcome{Err: tasks.RejectWithReason("why", false)}, nil, Failed, late, "FAILURE", 0, "rejected why"},
		{"requeue", Outcome{Err: tasks.Reject(true)}, nil, Rejected, requeue, "", 0, "rejected None"},
		{"lost", Outcome{Err: lost}, nil, Failed, late, "FAILURE", 0, "handler error"},
		{"lost, back", Outcome{Err: lost}, []tasks.Option{tasks.RejectOnWorkerLost(true)}, Rejected, requeue, "", 0, "handler error"},
		{"lost, again", Outcome{Err: lost}, []tasks.Option{tasks.RetryOnWorkerLost(true)}, Retried, late, "RETRY", 1, "retried Retry in 180s: WorkerLostError("},
		{"settled elsewhere", Outcome{Settled: &Settled{State: protocol.Success, Record: []byte(`{"status": "SUCCESS"}`)}}, nil, Succeeded, late, "SUCCESS", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o, r := outcomesBench(t, append(tt.opts, tasks.AcksLate(true))...)
			s := o.of(t.Context(), r, tt.ended, time.Second)
			if s.end.kind != tt.kind || s.fate != tt.fate || s.end.runtime != time.Second || !s.end.returned.Equal(o.now()) {
				t.Errorf("kind %v, fate %v, runtime %v, want %v, %v, 1s", s.end.kind, s.fate, s.end.runtime, tt.kind, tt.fate)
			}
			wantRecordState(t, s.record, tt.state)
			if got := told(s.end); !strings.HasPrefix(got, tt.told) || (got == "") != (tt.told == "") {
				t.Errorf("told %q, want %q", got, tt.told)
			}
			if n := messagesOf(&s); n != tt.messages {
				t.Errorf("%d messages, want %d", n, tt.messages)
			}
			o, r = outcomesBench(t, tt.opts...)
			if s := o.of(t.Context(), r, tt.ended, time.Second); s.fate != none {
				t.Errorf("acknowledged early, and then fate %v", s.fate)
			}
		})
	}
}

func wantRecordState(t *testing.T, record []byte, want string) {
	t.Helper()
	if want == "" != (record == nil) || !strings.HasPrefix(string(record), `{"status": "`+want) && want != "" {
		t.Errorf("record %s, want %s", record, want)
	}
}

func messagesOf(s *settlement) int {
	if s.flow == nil {
		return 0
	}
	return len(s.flow.Messages) + len(s.flow.then)
}

// TestSoftTimeoutIsAFailure: a handler that gives up when its soft limit is over fails with
// SoftTimeLimitExceeded, and one that gives up for another reason does not.
func TestSoftTimeoutIsAFailure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cause, err error
		want       string
	}{
		{tasks.ErrSoftTimeLimit, context.Canceled, "raised SoftTimeLimitExceeded()"},
		{tasks.ErrSoftTimeLimit, fmt.Errorf("on the way: %w", tasks.ErrSoftTimeLimit), "raised SoftTimeLimitExceeded()"},
		{tasks.ErrSoftTimeLimit, errors.New("bad"), "raised Exception('bad')"},
		{tasks.ErrSoftTimeLimit, tasks.Retry(context.Canceled), "retried "},
		{tasks.ErrRevoked, context.Canceled, "raised "},
	} {
		o, r := outcomesBench(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(tt.cause)
		got := told(o.of(ctx, r, Outcome{Err: tt.err}, 0).end)
		if !strings.HasPrefix(got, tt.want) || strings.HasPrefix(tt.want, "raised Soft") != strings.Contains(got, "SoftTimeLimit") {
			t.Errorf("%v, then %v: %s, want %s", tt.cause, tt.err, got, tt.want)
		}
	}
}

// TestWhatAnEndMeansForOthers: callbacks and the chain of a success, errbacks and the chain of a
// failure, and the part of a chord of both.
func TestWhatAnEndMeansForOthers(t *testing.T) {
	t.Parallel()
	const next = `{"task": "app.next", "args": [], "kwargs": {}, "options": {"task_id": "next-id"}, "subtask_type": null, "immutable": false}`
	embed := protocol.Embed{
		Callbacks: []byte("[" + next + "]"), Errbacks: []byte("[" + next + "]"), Chain: []byte("[" + next + "]"),
		Chord: []byte(`{"task": "app.body", "chord_size": 2}`),
	}
	for _, tt := range []struct {
		ended                   Outcome
		before, then, records   int
		part                    protocol.State
		terminated, noPublisher bool
	}{
		{ended: Outcome{Result: 1}, before: 2, part: protocol.Success},
		{ended: Outcome{Err: errors.New("bad")}, then: 1, records: 1, part: protocol.Failure},
		{ended: Outcome{Err: tasks.Ignore()}},
		{ended: Outcome{Err: tasks.Retry(nil)}, before: 1},
		{terminated: true, part: protocol.Revoked},
		{ended: Outcome{Result: 1}, noPublisher: true, records: 1, part: protocol.Failure}, // what follows cannot be published
	} {
		o, r := outcomesBench(t)
		o.publishes = !tt.noPublisher
		r.Embed, r.GroupID = embed, "the-group"
		if signum := 15; tt.terminated {
			r.terminated.Store(&signum)
		}
		s := o.of(t.Context(), r, tt.ended, 0)
		f := s.with()
		if len(f.Messages) != tt.before || len(f.then) != tt.then || len(f.records) != tt.records {
			t.Errorf("%+v: %d messages before the record, %d after it, %d other records", tt, len(f.Messages), len(f.then), len(f.records))
		}
		switch {
		case tt.part == "" && len(f.parts) == 0:
		case len(f.parts) != 1 || f.parts[0].State != tt.part || f.parts[0].GroupID != "the-group" || f.parts[0].Size != 2:
			t.Errorf("%+v: parts %+v", tt, f.parts)
		}
	}
}

// TestWhatCannotBeFollowed: a chain or callbacks that cannot be read do not keep a task from ending.
func TestWhatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	o, r := outcomesBench(t)
	r.Embed = protocol.Embed{Chain: []byte("[7]"), Errbacks: []byte("[8]")}
	s := o.of(t.Context(), r, Outcome{Err: errors.New("bad")}, 0)
	if got, want := told(s.end), "raised Exception('bad'), wrong Cannot read the chain of task app.do[the-id], wrong Cannot read the errbacks of task app.do[the-id]"; got != want {
		t.Errorf("told %s", got)
	}
	if s = o.of(t.Context(), r, Outcome{Result: 1}, 0); s.end.kind != Failed {
		t.Errorf("a success with such a chain is %v", s.end.kind)
	}
}

// TestAnEndWithoutARun: what becomes of requests that an operator, a time limit or a shutdown stops.
func TestAnEndWithoutARun(t *testing.T) {
	t.Parallel()
	for _, isLate := range []bool{false, true} {
		o, r := outcomesBench(t, tasks.AcksLate(isLate))
		s := o.timedOut(r, time.Minute, "the stack")
		if got := told(s.end); got != "hard limit, handler error the stack" || s.end.kind != Failed || s.fate != r.ackAfter() {
			t.Errorf("timed out: %s, %v, fate %v", got, s.end.kind, s.fate)
		}
		for reason, terminated := range map[string]bool{"expired": false, "revoked": false, "terminated": true} {
			s := o.revocation(r, reason, terminated)
			wantRecordState(t, s.record, "REVOKED")
			if early := terminated && !isLate; (s.fate == none) != early || s.end.expired != (reason == "expired") {
				t.Errorf("%s: fate %v, expired %v", reason, s.fate, s.end.expired)
			}
		}
		s = o.cutOff(r)
		wantRecordState(t, s.record, "RETRY")
		if s.end != nil || s.fate != none {
			t.Errorf("cut off: %+v", s)
		}
	}
	o, r := outcomesBench(t, tasks.AcksLate(true), tasks.AcksOnTimeout(false))
	if s := o.timedOut(r, time.Minute, ""); s.fate != requeue || !s.end.requeue {
		t.Errorf("timed out, and not acknowledged: fate %v", s.fate)
	}
}
