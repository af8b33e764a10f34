package worker

import (
	"log/slog"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// deduplicated settles a redelivered message whose task has succeeded already, without
// running it again (worker_deduplicate_successful_tasks). What should have followed is
// published if the record knows of no children: the first run died before it got that far.
func (w *Worker) deduplicated(r *request) bool {
	if !w.cfg.Deduplicate || !r.acksLate || !r.Redelivered {
		return false
	}
	s := settlement{req: r, fate: late, end: &outcome{kind: Succeeded, silent: true, returned: time.Now()}}
	if w.successful.has(r.ID, time.Now()) {
		w.settle(s)
		return true
	}
	if w.stored.Loader == nil {
		return false
	}
	raw, err := w.stored.Loader.Load(w.taskCtx, r.ID)
	if err != nil {
		return false // none, or unreadable: as Celery, run it
	}
	if state, err := backend.State(raw); err != nil || state != protocol.Success {
		return false
	}
	w.log.task(levelInfo, r, "Task already completed successfully", "Task "+nameAndID(r.Task)+" Task already completed successfully.")
	if record, err := protocol.DecodeResult(raw); err == nil && len(pyjson.Elements(record.Children)) == 0 {
		if err := w.follow(&s, record.Result); err != nil {
			w.log.task(slog.LevelError, r, "Failed to dispatch chain/callbacks for deduplicated task",
				"Failed to dispatch chain/callbacks for deduplicated task "+r.ID+": "+err.Error(), logline.Err(err))
		}
	}
	w.settle(s)
	return true
}
