package worker

import (
	"context"
	"time"

	"github.com/apium/apium/protocol"
)

// answers tells log and hooks what has become of a request, and returns what is to be
// written for it.
type answers struct {
	outcomes *outcomes
	log      taskLog
	hooks    *hooks
}

// outcome answers for a request that has run.
func (a *answers) outcome(ctx context.Context, r *request, ended Outcome, runtime time.Duration) settlement {
	s := a.tell(a.outcomes.of(ctx, r, ended, runtime))
	a.hooks.taskPostrun(ctx, r, stateOf(s.end.kind), s.end.result)
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

func (a *answers) tell(s settlement) settlement {
	a.log.remarks(s.req, s.end.remarks)
	switch r := s.req; {
	case s.end.silent:
	case s.end.kind == Succeeded:
		a.hooks.taskSuccess(r, s.end.result)
	case s.end.kind == Failed:
		a.hooks.taskFailure(r, s.end.exception)
	case s.end.kind == Retried:
		a.hooks.taskRetry(r, s.end.retry)
	case s.end.kind == Revoked:
		a.hooks.taskRevoked(r, s.end.terminated, s.end.expired)
	}
	return s
}
