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
func (o *Operations) Revoke(ctx context.Context, ids ...string) {
	o.revocations.add(ids...)
	o.storeRevoked(ctx, ids)
	o.parking.recall(ctx, ids)
}

// MergeRevoked takes over ids that were revoked elsewhere, the oldest first. As in
// Celery they count from now on: other hosts' times say nothing here.
func (o *Operations) MergeRevoked(ids ...string) {
	if len(ids) > 0 {
		o.revocations.add(ids...)
	}
}

// Revoked returns the ids that are flagged as revoked, the oldest first.
func (o *Operations) Revoked() []string { return o.revocations.list() }

// Terminate stops the handlers of tasks by their ids: the context is cancelled with the
// cause tasks.ErrRevoked, and after a moment, with SIGKILL at once, the handler is not
// waited for any more. The state becomes REVOKED. The number of the signal has no other
// meaning. It returns the ids that the worker holds; those among them that do not run yet
// are discarded when their turn comes, if they are revoked as well. The error says that some of
// them go on: their executor cannot stop them.
func (o *Operations) Terminate(signum int, ids ...string) (known []string, err error) {
	for _, info := range o.Find(ids...) {
		known = append(known, info.ID)
		o.log.Info(fmt.Sprintf("Terminating %s (%d)", info.ID, signum),
			logline.EventKey, "Terminating a task", "task_name", info.DisplayName(), "task_id", info.ID, "signum", signum)
	}
	wanted := map[string]bool{}
	for _, id := range known {
		wanted[id] = true
	}
	err = o.runner.terminate(signum, func(r *request) bool { return wanted[r.ID] })
	return known, err
}

// RevokeByStamps has the worker discard tasks that have one of these values in a stamped
// header. Values are JSON as Python writes it.
func (o *Operations) RevokeByStamps(headers map[string][]json.RawMessage) {
	o.revocations.addStamps(headers)
}

// TerminateByStamps stops the handlers of tasks that have one of these values in a
// stamped header, as Terminate does. It returns the stamps by which tasks were found.
func (o *Operations) TerminateByStamps(signum int, headers map[string][]json.RawMessage) (found map[string][]json.RawMessage, err error) {
	var sought revokedStamps
	for header, values := range headers {
		sought.add(header, values...)
	}
	hits := revokedStamps{}
	err = o.runner.terminate(signum, func(r *request) bool {
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
	return found, err
}

// storeRevoked stores REVOKED for tasks that have not started anywhere. Those that run,
// here or elsewhere, are left to their workers, and results that are there stay.
func (o *Operations) storeRevoked(ctx context.Context, ids []string) {
	if o.loader == nil || len(ids) == 0 {
		return
	}
	present, err := o.loader.LoadMany(ctx, ids...)
	if err != nil {
		o.log.Warn("Failed to mark tasks as revoked in backend: "+err.Error(),
			logline.EventKey, "Failed to mark tasks as revoked in backend", "error", err)
		return
	}
	running := map[string]bool{}
	for _, r := range o.runner.active() {
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
			DateDone: time.Now().In(o.location),
		}
		records = append(records, backend.Record{TaskID: id, Document: rec.Append(nil)})
	}
	if len(records) == 0 {
		return
	}
	if err := o.store.Store(ctx, records...); err != nil {
		o.log.Warn("Failed to mark tasks as revoked in backend: "+err.Error(),
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
