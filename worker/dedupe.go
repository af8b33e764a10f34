package worker

import (
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
	if d.loader == nil {
		return false
	}
	raw, err := d.loader.Load(d.outcomes.ctx, r.ID)
	if err != nil {
		return false // none, or unreadable: as Celery, run it
	}
	if state, err := backend.State(raw); err != nil || state != protocol.Success {
		return false
	}
	d.log.task(levelInfo, r, "Task already completed successfully", "Task "+nameAndID(r.Task)+" Task already completed successfully.")
	if record, err := protocol.DecodeResult(raw); err == nil && len(pyjson.Elements(record.Children)) == 0 {
		if err := d.outcomes.follow(&s, record.Result); err != nil {
			d.log.task(slog.LevelError, r, "Failed to dispatch chain/callbacks for deduplicated task",
				"Failed to dispatch chain/callbacks for deduplicated task "+r.ID+": "+err.Error(), logline.Err(err))
		}
	}
	d.settler.settle(s)
	return true
}
