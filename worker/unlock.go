package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// unlockChord polls a chord for producers whose result backend cannot count it: when all
// members are done it runs the body (celery.chord_unlock).
func (w *Worker) unlockChord(ctx context.Context, groupID string, body json.RawMessage, interval *float64, maxRetries *int, result []json.RawMessage, _ map[string]any) error {
	r, ok := tasks.Current(ctx).Execution.(*request)
	switch {
	case !ok:
		return tasks.ErrOutsideTask
	case w.stored.Loader == nil:
		return errors.New("celery.chord_unlock: this worker has no result backend")
	}
	tree := append(pyjson.AppendArray([]byte(`[["", null], `), result), ']')
	ready, err := w.allReady(ctx, leaves(nil, tree))
	if err != nil || !ready {
		return w.pollAgain(ctx, r, body, err, interval, maxRetries)
	}
	f := &flow{}
	results, err := w.joinTree(ctx, tree)
	switch {
	case err == nil:
		_, err = w.runBody(f, r, body, results)
	case ctx.Err() == nil:
		cause := tasks.ExceptionOf(err)
		err = &chordError{text: cause.Repr(), cause: cause}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		*f = flow{}
		w.failBody(f, r, body, err)
	}
	if err := r.write(ctx, settlement{req: r, flow: f}); err != nil {
		return fmt.Errorf("chord %s: %w", groupID, err)
	}
	return nil
}

// pollAgain retries celery.chord_unlock, or fails its chord when there have been enough
// retries: nobody else would.
func (w *Worker) pollAgain(ctx context.Context, r *request, body []byte, cause error, interval *float64, maxRetries *int) error {
	wait := w.cfg.ChordRetryInterval
	if interval != nil {
		wait = time.Duration(*interval * float64(time.Second))
	}
	if maxRetries == nil || r.Retries < *maxRetries {
		return tasks.Retry(cause, tasks.RetryCountdown(wait), tasks.MaxRetries(-1))
	}
	exc := r.tooManyRetries(r.Task)
	if cause != nil {
		exc = tasks.ExceptionOf(cause)
	}
	f := &flow{}
	w.failBody(f, r, body, &chordError{text: "chord_unlock could not be retried: " + exc.Repr(), cause: exc})
	if err := r.write(ctx, settlement{req: r, flow: f}); err != nil {
		return err
	}
	return exc
}

// allReady tells whether all tasks have a result.
func (w *Worker) allReady(ctx context.Context, ids []string) (bool, error) {
	records, err := w.stored.Loader.LoadMany(ctx, ids...)
	if err != nil {
		return false, err
	}
	for _, record := range records {
		if record == nil {
			return false, nil
		}
		if state, err := backend.State(record); err != nil || !state.Ready() {
			return false, err
		}
	}
	return true, nil
}
