package worker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// unlock polls a chord for producers whose result backend cannot count it: when all
// members are done it runs the body (celery.chord_unlock). It is acknowledged late, unlike in
// Celery: if the worker dies, nobody else would look at the chord.
func (c *chords) unlock(ctx context.Context, groupID string, body json.RawMessage, interval *float64, maxRetries *int, result []json.RawMessage, _ map[string]any) error {
	r, ok := tasks.Current(ctx).Execution.(*request)
	switch {
	case !ok:
		return tasks.ErrOutsideTask
	case c.loader == nil:
		return errors.New("celery.chord_unlock: this worker has no result backend")
	}
	members := pyjson.AppendArray(nil, result)
	ready, err := c.allReady(ctx, protocol.TaskIDs(nil, groupOf(members)))
	if err != nil || !ready {
		return c.pollAgain(r, groupID, body, err, interval, maxRetries)
	}
	f := &flow{}
	results, err := c.joinMembers(ctx, members)
	if err == nil {
		_, err = c.outcomes.runBody(f, r, body, results)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		var failure *chordError
		if errors.As(err, &failure) {
			failure.group = groupID
		}
		*f = flow{}
		c.log.remarks(r, c.outcomes.failBody(f, r, body, err))
	} else {
		f.finish = append(f.finish, c.failingIfRefused(r, body, f))
	}
	r.leave(f)
	return nil
}

// failingIfRefused fails the chord if its body, which is in f, is refused: where it is published with the acknowledgement, after that.
func (c *chords) failingIfRefused(r *request, body []byte, f *flow) finisher {
	refused := heedRefusal(f)
	return func(_ context.Context, rest *settlement) {
		if *refused != nil {
			rest.flow.add(c.refusedBody(r, body, *refused))
			return
		}
		rest.flow.after = append(rest.flow.after, func(ctx context.Context) {
			if *refused != nil {
				c.settleBody(ctx, bodyOf(r, c.refusedBody(r, body, *refused)), func(context.Context, bool) {})
			}
		})
	}
}

// pollAgain retries celery.chord_unlock, or fails its chord when there have been enough
// retries: nobody else would.
func (c *chords) pollAgain(r *request, groupID string, body []byte, cause error, interval *float64, maxRetries *int) error {
	wait := c.retryInterval
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
	c.log.remarks(r, c.outcomes.failBody(f, r, body, &chordError{text: "chord_unlock could not be retried: " + exc.Repr(), cause: exc, group: groupID}))
	r.leave(f)
	return exc
}

// allReady tells whether all tasks have a result.
func (c *chords) allReady(ctx context.Context, ids []string) (bool, error) {
	records, err := c.loader.LoadMany(ctx, ids...)
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
