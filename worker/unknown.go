package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/tasks"
)

func (c *Config) validatePolicies() (errs []error) {
	_, moves := c.Consumer.(broker.Mover)
	check := func(where string, p tasks.UnknownPolicy) {
		switch {
		case p.Action == tasks.UnknownForward && p.Queue == "":
			errs = append(errs, fmt.Errorf("worker: %s: forward needs a queue", where))
		case (p.Action == tasks.UnknownForward || p.Action == tasks.UnknownPark) && !moves:
			errs = append(errs, fmt.Errorf("worker: %s: %T cannot move messages", where, c.Consumer))
		}
	}
	check("Unknown", c.Unknown)
	for _, queue := range slices.Sorted(maps.Keys(c.UnknownByQueue)) {
		p := c.UnknownByQueue[queue]
		check("UnknownByQueue["+queue+"]", p)
		if p.Action == tasks.UnknownForward && p.Queue == queue {
			errs = append(errs, errors.New("worker: UnknownByQueue["+queue+"] forwards the queue to itself"))
		}
	}
	return errs
}

// rejectUnknown answers for a task that is not registered, as the policy says.
func (w *Worker) rejectUnknown(r *request) {
	policy := w.unknownPolicy(r.Queue)
	switch policy.Action {
	case tasks.UnknownForward, tasks.UnknownLeave:
		w.keepOrHandOn(r, policy.Action == tasks.UnknownLeave)
	case tasks.UnknownPark:
		w.bury(r, ReasonUnregistered, r.Name)
	default:
		w.failUnknown(r)
	}
}

// unknownPolicy is the policy for a message's queue.
func (w *Worker) unknownPolicy(queue string) tasks.UnknownPolicy {
	policy, ok := w.cfg.UnknownByQueue[queue]
	if !ok {
		policy = w.cfg.Unknown
	}
	if policy.Action == tasks.UnknownForward && policy.Queue == queue {
		return tasks.UnknownPolicy{} // it came back to where it is forwarded to: nobody knows it
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
	w.log.task(slog.LevelError, s.req, what, what+": "+logline.Escape(s.reason)+"\n"+dump(s.req.content.Text()), logline.Lines(),
		slog.String("reason", reason), slog.String("detail", detail), slog.String("message", dump(s.req.content.Text())))
	w.settle(s)
}
