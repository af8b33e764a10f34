package worker

import (
	"context"

	"github.com/apium/apium/protocol"
)

// cutOff is the settlement of a task that a cold shutdown has stopped and whose message is
// gone from the queue. As in Celery (since 5.5), its state becomes RETRY, which tells
// clients that they wait in vain.
func (w *Worker) cutOff(r *request) settlement {
	exc := newException("celery.exceptions", "Retry", "cancelled by a cold shutdown")
	return settlement{req: r, record: w.record(r, recordOf{state: protocol.Retry, result: exc.Append(nil)}, r.storeErrors)}
}

// gaveUp is cutOff of a handler that has returned an error because it was told to end.
func (w *Worker) gaveUp(ctx context.Context, r *request) settlement {
	s := w.cutOff(r)
	w.hooks.taskPostrun(ctx, r, protocol.Retry, nil)
	return s
}
