package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
)

// Revoke has the worker discard tasks by their ids when it meets them, for as long as
// Config.RevokeExpires. Their state becomes REVOKED at once, unless they have another
// one or run here: those that run go on (see Terminate). Those that the broker keeps for
// later are discarded at once: they may be due when their revocation is forgotten.
func (w *Worker) Revoke(ctx context.Context, ids ...string) {
	w.revocations.add(ids...)
	w.storeRevoked(ctx, ids)
	w.parking.recall(ctx, ids)
}

// MergeRevoked takes over ids that were revoked elsewhere, the oldest first. As in
// Celery they count from now on: other hosts' times say nothing here.
func (w *Worker) MergeRevoked(ids ...string) {
	if len(ids) > 0 {
		w.revocations.add(ids...)
	}
}

// Revoked returns the ids that are flagged as revoked, the oldest first.
func (w *Worker) Revoked() []string { return w.revocations.list() }

// Terminate stops the handlers of tasks by their ids: the context is cancelled with the
// cause tasks.ErrRevoked, and after a moment, with SIGKILL at once, the handler is not
// waited for any more. The state becomes REVOKED. The number of the signal has no other
// meaning. It returns the ids that the worker holds; those among them that do not run yet
// are discarded when their turn comes, if they are revoked as well.
func (w *Worker) Terminate(signum int, ids ...string) (known []string) {
	for _, info := range w.Find(ids...) {
		known = append(known, info.ID)
		w.log.Info(fmt.Sprintf("Terminating %s (%d)", info.ID, signum),
			logline.EventKey, "Terminating a task", "task_name", info.DisplayName(), "task_id", info.ID, "signum", signum)
	}
	wanted := map[string]bool{}
	for _, id := range known {
		wanted[id] = true
	}
	w.runner.terminate(signum, func(r *request) bool { return wanted[r.ID] })
	return known
}

// RevokeByStamps has the worker discard tasks that have one of these values in a stamped
// header. Values are JSON as Python writes it.
func (w *Worker) RevokeByStamps(headers map[string][]json.RawMessage) {
	w.revocations.addStamps(headers)
}

// TerminateByStamps stops the handlers of tasks that have one of these values in a
// stamped header, as Terminate does. It returns the stamps by which tasks were found.
func (w *Worker) TerminateByStamps(signum int, headers map[string][]json.RawMessage) (found map[string][]json.RawMessage) {
	var sought revokedStamps
	for header, values := range headers {
		sought.add(header, values...)
	}
	hits := revokedStamps{}
	w.runner.terminate(signum, func(r *request) bool {
		matches := sought.matches(r.Task)
		for _, m := range matches {
			hits.add(m.header, json.RawMessage(m.value))
		}
		return len(matches) > 0
	})
	found = map[string][]json.RawMessage{}
	for header, values := range hits.all() {
		for _, v := range values {
			found[header] = append(found[header], json.RawMessage(v))
		}
	}
	return found
}

// storeRevoked stores REVOKED for tasks that have not started anywhere. Those that run,
// here or elsewhere, are left to their workers, and results that are there stay.
func (w *Worker) storeRevoked(ctx context.Context, ids []string) {
	if w.loader == nil || len(ids) == 0 {
		return
	}
	present, err := w.loader.LoadMany(ctx, ids...)
	if err != nil {
		w.log.Warn("Failed to mark tasks as revoked in backend: "+err.Error(),
			logline.EventKey, "Failed to mark tasks as revoked in backend", "error", err)
		return
	}
	running := map[string]bool{}
	for _, r := range w.runner.active() {
		running[r.ID] = true
	}
	exc := newException("celery.exceptions", "TaskRevokedError", "revoked")
	var records []backend.Record
	for i, id := range ids {
		if running[id] || present[i] != nil && !isWaiting(present[i]) {
			continue
		}
		rec := protocol.Result{
			State: protocol.Revoked, Result: exc.Append(nil), Children: []byte("null"), TaskID: id,
			DateDone: time.Now().In(w.cfg.Location),
		}
		records = append(records, backend.Record{TaskID: id, Document: rec.Append(nil)})
	}
	if len(records) == 0 {
		return
	}
	if err := w.cfg.Store.Store(ctx, records...); err != nil {
		w.log.Warn("Failed to mark tasks as revoked in backend: "+err.Error(),
			logline.EventKey, "Failed to mark tasks as revoked in backend", "error", err)
	}
}

// isWaiting tells of a record that its task has not started, or is to be retried.
func isWaiting(record []byte) bool {
	state, err := backend.State(record)
	switch state {
	case protocol.Pending, "RECEIVED", protocol.Retry, protocol.Rejected:
		return err == nil
	default:
		return false
	}
}

// discarded settles a request that has expired or was revoked while it waited.
func (w *Worker) discarded(r *request) bool {
	now := time.Now()
	switch isExpired := isExpired(r, now); {
	case isExpired || w.revocations.has(r.ID, now):
		w.discard(r, isExpired)
	default:
		header, value, found := w.revocations.byStamp(r.Task)
		if !found {
			return false
		}
		w.log.discardedByStamp(r, header, value)
		w.settle(w.revocation(r, "revoked", false))
		w.hooks.taskRevoked(r, false, false)
	}
	return true
}
