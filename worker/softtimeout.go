package worker

import (
	"context"
	"errors"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// softTimeout says what an error means that a handler returned after its soft limit: that
// it gave up because its context was done is SoftTimeLimitExceeded.
func softTimeout(ctx context.Context, err error) error {
	gaveUp := errors.Is(err, tasks.ErrSoftTimeLimit) ||
		errors.Is(context.Cause(ctx), tasks.ErrSoftTimeLimit) && errors.Is(err, context.Canceled)
	if !gaveUp || tasks.IsOutcome(err) {
		return err
	}
	return errSoftTimeLimitExceeded
}

// errSoftTimeLimitExceeded is what Celery raises in the task, without arguments.
var errSoftTimeLimitExceeded = &protocol.Exception{
	Module: "billiard.exceptions", Type: "SoftTimeLimitExceeded", Message: []byte("[]"),
	Traceback: "Traceback (most recent call last):\nbilliard.exceptions.SoftTimeLimitExceeded: SoftTimeLimitExceeded()\n",
}
