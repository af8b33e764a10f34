package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// UnknownPolicy says what becomes of a message whose task is not registered here.
type UnknownPolicy struct {
	Action UnknownAction
	Queue  string // of UnknownForward
}

// UnknownAction is the kind of an UnknownPolicy.
type UnknownAction int

const (
	// UnknownFail drops the message and stores NotRegistered, as Celery does.
	UnknownFail UnknownAction = iota
	// UnknownForward moves the message, byte for byte, to another queue, where workers
	// listen that know the task. A Go worker can so take over a shared queue task by task.
	UnknownForward
	// UnknownLeave gives the message back to the end of its queue for other workers. One
	// that comes again is kept for a moment first, longer each time, so that a queue nobody
	// else works on is no busy loop.
	UnknownLeave
	// UnknownPark buries the message among the dead letters.
	UnknownPark
)

// ParseUnknownPolicy reads "fail", "leave", "park" or "forward:<queue>".
func ParseUnknownPolicy(text string) (UnknownPolicy, error) {
	action, queue, _ := strings.Cut(text, ":")
	switch {
	case action == "forward" && queue != "":
		return UnknownPolicy{UnknownForward, queue}, nil
	case queue != "":
	case action == "fail":
		return UnknownPolicy{}, nil
	case action == "leave":
		return UnknownPolicy{Action: UnknownLeave}, nil
	case action == "park":
		return UnknownPolicy{Action: UnknownPark}, nil
	}
	return UnknownPolicy{}, fmt.Errorf("'%s' is not one of fail, leave, park, forward:<queue>", text)
}

func (c *Config) validatePolicies() (errs []error) {
	_, moves := c.Consumer.(broker.Mover)
	check := func(where string, p UnknownPolicy) {
		switch {
		case p.Action == UnknownForward && p.Queue == "":
			errs = append(errs, fmt.Errorf("worker: %s: forward needs a queue", where))
		case (p.Action == UnknownForward || p.Action == UnknownPark) && !moves:
			errs = append(errs, fmt.Errorf("worker: %s: %T cannot move messages", where, c.Consumer))
		}
	}
	check("Unknown", c.Unknown)
	for _, queue := range slices.Sorted(maps.Keys(c.UnknownByQueue)) {
		p := c.UnknownByQueue[queue]
		check("UnknownByQueue["+queue+"]", p)
		if p.Action == UnknownForward && p.Queue == queue {
			errs = append(errs, errors.New("worker: UnknownByQueue["+queue+"] forwards the queue to itself"))
		}
	}
	return errs
}

// rejectUnknown answers for a task that is not registered, as the policy says.
func (w *Worker) rejectUnknown(r *request) {
	policy := w.unknownPolicy(r.Queue)
	switch policy.Action {
	case UnknownForward, UnknownLeave:
		w.keepOrHandOn(r, policy.Action == UnknownLeave)
	case UnknownPark:
		w.bury(r, ReasonUnregistered, r.Name)
	default:
		w.failUnknown(r)
	}
}

// unknownPolicy is the policy for a message's queue.
func (w *Worker) unknownPolicy(queue string) UnknownPolicy {
	policy, ok := w.cfg.UnknownByQueue[queue]
	if !ok {
		policy = w.cfg.Unknown
	}
	if policy.Action == UnknownForward && policy.Queue == queue {
		return UnknownPolicy{} // it came back to where it is forwarded to: nobody knows it
	}
	return policy
}

// failUnknown drops the message; the task fails, so that its caller learns of it. As in
// Celery neither a chord nor errbacks hear of it.
func (w *Worker) failUnknown(r *request) {
	w.log.unknown(r)
	w.hooks.taskUnknown(r)
	r.storeErrors = w.cfg.Store != nil
	exc := newException("celery.exceptions", "NotRegistered", r.Name)
	w.settle(settlement{
		req: r, fate: late, record: w.record(r, failureRecord(exc), r.storeErrors),
		end: &outcome{kind: Failed, exception: exc, returned: time.Now()},
	})
}

// buryPoison puts a message among the dead letters that its workers have died of. As in
// Celery where a child process is lost, its task fails, so that nobody waits for it any more;
// replayed, it may still succeed.
func (w *Worker) buryPoison(r *request) {
	detail := fmt.Sprintf("given back %d times because a worker died", r.redeliveries)
	s := w.failure(r, newException("billiard.exceptions", "WorkerLostError", "Worker exited prematurely: "+detail), 0)
	s.rejected, s.end.reason = notRejected, ReasonRedelivered
	w.settleBurial(s, ReasonRedelivered, detail)
}

// bury puts a message among the dead letters.
func (w *Worker) bury(r *request, reason, detail string) {
	w.settleBurial(settlement{req: r, end: &outcome{kind: Buried, reason: reason}}, reason, detail)
}

func (w *Worker) settleBurial(s settlement, reason, detail string) {
	s.fate, s.reason = burial, reason+": "+detail
	what := "Moving a message to the dead letters"
	if w.mover == nil {
		what, s.fate = "Dropping a message", late
	}
	w.log.task(slog.LevelError, s.req, what, what+": "+logline.Escape(s.reason)+"\n"+dump(s.req.raw), logline.Lines(),
		slog.String("reason", reason), slog.String("detail", detail), slog.String("message", dump(s.req.raw)))
	w.settle(s)
}
