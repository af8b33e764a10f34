package worker

import (
	"context"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// answers tells log and hooks what has become of a request, and returns what is to be
// written for it.
type answers struct {
	outcomes *outcomes
	log      taskLog
	hooks    *hooks
}

// inContext has a run begin in the context that hooks make for it.
func (a *answers) inContext(ctx context.Context, r *request) {
	if a.hooks.contexts && r.task.entry.InGo() {
		r.ctx = a.hooks.taskContext(tasks.NewContext(ctx, &r.Request), r)
	}
}

// outcome answers for a request that has run.
func (a *answers) outcome(ctx context.Context, r *request, ended Outcome, runtime time.Duration) settlement {
	s := a.tell(a.outcomes.of(ctx, r, ended, runtime))
	a.hooks.taskPostrun(ctx, r, stateOf(s.end), s.end.result)
	return s
}

// failure answers for a request that cannot be run.
func (a *answers) failure(r *request, exc *protocol.Exception) settlement {
	return a.tell(a.outcomes.failure(r, exc, 0))
}

// timedOut answers for one that has exceeded its hard time limit.
func (a *answers) timedOut(r *request, limit time.Duration, trace string) settlement {
	return a.tell(a.outcomes.timedOut(r, limit, trace))
}

// terminated answers for one that an operator has stopped.
func (a *answers) terminated(r *request) settlement {
	return a.tell(a.outcomes.revocation(r, "terminated", true))
}

// discarded answers for one that has expired or was revoked before it ran.
func (a *answers) discarded(r *request, reason string) settlement {
	return a.tell(a.outcomes.revocation(r, reason, false))
}

// cutOff answers for one that a cold shutdown has stopped.
func (a *answers) cutOff(r *request) settlement { return a.outcomes.cutOff(r) }

// gaveUp is cutOff of a handler that has returned an error because it was told to end.
func (a *answers) gaveUp(ctx context.Context, r *request) settlement {
	s := a.outcomes.cutOff(r)
	a.hooks.taskPostrun(ctx, r, protocol.Retry, nil)
	return s
}

// returnedLate tells that a handler has returned for whom nobody waited any longer: its task is answered for.
func (a *answers) returnedLate(ctx context.Context, r *request) {
	state := protocol.Failure
	if r.terminated.Load() != nil {
		state = protocol.Revoked
	}
	a.hooks.taskPostrun(ctx, r, state, nil)
}

func (a *answers) tell(s settlement) settlement {
	a.log.remarks(s.req, s.end.remarks)
	switch r, ctx := s.req, a.outcomes.context(s.req); {
	case s.end.silent, s.end.rejects: // Celery has no signal for that
	case s.end.kind == Succeeded:
		a.hooks.taskSuccess(ctx, r, s.end.result)
	case s.end.kind == Failed:
		a.hooks.taskFailure(ctx, r, s.end.exception)
	case s.end.kind == Retried:
		a.hooks.taskRetry(ctx, r, s.end.retry)
	case s.end.kind == Revoked:
		a.hooks.taskRevoked(ctx, r, s.end.terminated, s.end.expired)
	}
	return s
}
