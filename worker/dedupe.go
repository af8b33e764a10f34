package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// deduplication keeps tasks from running again that have succeeded
// (worker_deduplicate_successful_tasks).
type deduplication struct {
	successful *memory // ids of tasks that have; nil: they run again
	loader     backend.Loader
	outcomes   *outcomes
	settler    *settler
	log        taskLog
}

func newDeduplication(cfg *Config, outcomes *outcomes, loader backend.Loader, log taskLog) *deduplication {
	d := &deduplication{loader: loader, outcomes: outcomes, log: log}
	if cfg.Deduplicate {
		d.successful = newMemory(cfg.SuccessfulMax, cfg.SuccessfulExpires)
	}
	return d
}

// lookTime is how long reading one record may take.
const lookTime = 5 * time.Second

// done settles a redelivered message whose task has succeeded already, without
// running it again. What should have followed is
// published if the record knows of no children: the first run died before it got that far.
func (d *deduplication) done(r *request) bool {
	if d.successful == nil || !r.acksLate || !r.Redelivered {
		return false
	}
	s := settlement{req: r, fate: late, end: &outcome{kind: Succeeded, silent: true, returned: time.Now()}}
	if d.successful.has(r.ID, time.Now()) {
		d.settler.settle(s)
		return true
	}
	raw := d.stored(r)
	if raw == nil {
		return false // as Celery, run it
	}
	d.log.task(levelInfo, r, "Task already completed successfully", "Task "+nameAndID(r.Task)+" Task already completed successfully.")
	if record, err := protocol.DecodeResult(raw); err == nil {
		_ = r.readBody(d.outcomes.decoder) // an executor may read it itself
		if len(pyjson.Elements(record.Children)) == 0 {
			if err := d.outcomes.follow(&s, record.Result); err != nil {
				d.log.task(slog.LevelError, r, "Failed to dispatch chain/callbacks for deduplicated task",
					"Failed to dispatch chain/callbacks for deduplicated task "+r.ID+": "+err.Error(), logline.Err(err))
			}
		}
		d.outcomes.countAgain(&s, protocol.Success, record.Result)
	}
	d.settler.settle(s)
	return true
}

// stored returns the record of a task that has succeeded; nil: it has not, or that cannot be read.
func (d *deduplication) stored(r *request) []byte {
	if d.loader == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(d.outcomes.ctx, lookTime)
	defer cancel()
	raw, err := d.loader.Load(ctx, r.ID)
	if err != nil {
		return nil
	}
	if state, err := backend.State(raw); err != nil || state != protocol.Success {
		return nil
	}
	return raw
}

// unlessStored makes a success of a lost process that had stored the task's before, and was lost in a receiver
// of task_postrun, for example: a failure would call errbacks and count a chord's part twice, and
// what comes again would run twice (as Celery 5.7).
func (d *deduplication) unlessStored(r *request, o Outcome) Outcome {
	var lost *LostError
	if o.Settled != nil || !errors.As(o.Err, &lost) || !r.storeResult || r.terminated.Load() != nil {
		return o
	}
	raw := d.stored(r)
	if raw == nil {
		return o
	}
	d.log.task(slog.LevelWarn, r, "Task succeeded before the worker was lost",
		"Task "+nameAndID(r.Task)+" succeeded before the worker was lost: "+newException("billiard.exceptions", "WorkerLostError", lost.Error()).Repr(),
		slog.String("exception", lost.Error()))
	result := pyjson.Member(raw, "result")
	return Outcome{Settled: &Settled{State: protocol.Success, Repr: protocol.SafeRepr(result), Part: result}}
}
