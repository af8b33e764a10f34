package worker

import (
	"context"
	"errors"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
)

// outcomes works out what the end of a request means: which settlement it is. It writes
// nothing, waits for nothing and tells nobody: what log and hooks are to be told of is part
// of the outcome. Only hooks that may change a message see it here, while it is made.
type outcomes struct {
	hostname        string
	location        *time.Location
	now             func() time.Time
	extended        bool            // records are (Config.ResultExtended)
	stores          bool            // there is a store
	encoder         backend.Encoder // nil: the store takes whatever is JSON
	publishes       bool            // there is a publisher
	keepsChords     bool            // and a store that counts them
	pollsChords     bool            // or one that leaves them to celery.chord_unlock
	inheritPriority bool            // Config.InheritParentPriority
	tasks           *taskConfigs
	maker           *publish.Maker
	decoder         *protocol.Decoder // of bodies that are read only now

	ctx context.Context //nolint:containedctx // of hooks that are told of no run
}

func newOutcomes(cfg *Config, stored backend.Abilities, maker *publish.Maker, decoder *protocol.Decoder) *outcomes {
	o := &outcomes{
		hostname: cfg.Hostname, location: cfg.Location, now: time.Now, extended: cfg.ResultExtended, stores: cfg.Store != nil,
		publishes: cfg.Publisher != nil, inheritPriority: cfg.InheritParentPriority, maker: maker, decoder: decoder,
		encoder: stored.Encoder, ctx: context.Background(),
	}
	results := publish.BackendOf(stored)
	o.keepsChords, o.pollsChords = results.Able(), stored.PollsChords
	return o
}

// context is that of the hooks which are told of a request, or of what it publishes. It lasts as long as the worker.
func (o *outcomes) context(r *request) context.Context {
	if r == nil || r.ctx == nil {
		return o.ctx
	}
	return context.WithoutCancel(r.ctx)
}

// of works out what the end of a run means.
func (o *outcomes) of(ctx context.Context, r *request, ended Outcome, runtime time.Duration) settlement {
	var s settlement
	switch {
	case ended.Settled != nil: // a task that was terminated may have done otherwise
		s = o.settledElsewhere(r, ended.Settled, runtime)
		s.revoked = r.terminated.Load() != nil
	case r.terminated.Load() != nil:
		s = o.revocation(r, "terminated", true)
	case ended.Err == nil:
		s = o.success(r, ended.Result, runtime)
	default:
		s = o.ofError(ctx, r, ended.Err, runtime)
	}
	r.takeReplacement(&s)
	s.end.returned = o.now()
	return s
}

// ofError works out what it means that a process was lost, or that a handler returned an error.
func (o *outcomes) ofError(ctx context.Context, r *request, err error, runtime time.Duration) settlement {
	var lost *LostError
	if errors.As(err, &lost) {
		return o.lostProcess(r, newException("billiard.exceptions", "WorkerLostError", lost.Error()), runtime, lost.Claimed)
	}
	return o.errorOutcome(r, r.task.autoRetry.Retry(softTimeout(ctx, err), r.Retries), runtime)
}
