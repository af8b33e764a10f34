package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// TestErrorsOfCelerys: what Celery itself raises in tasks has its classes and texts.
func TestErrorsOfCelerys(t *testing.T) {
	const improper = `FAILURE {"exc_type": "ImproperlyConfigured", "exc_message": ["%s"], "exc_module": "celery.exceptions"}`
	const lost = `FAILURE {"exc_type": "WorkerLostError", "exc_message": ["Worker exited prematurely: exitcode 1."], "exc_module": "billiard.exceptions"}`
	const wrong = `FAILURE {"exc_type": "TypeError", "exc_message": ["add() takes 2 positional arguments but 3 were given"], "exc_module": "builtins"}`
	replace := func(sig canvas.Signature) func(context.Context) error {
		return func(ctx context.Context) error { return tasks.Replace(ctx, sig) }
	}
	sum := canvas.Sig("app.add", 1, 2)
	returned := &canvas.Result{ID: "r", Parent: &canvas.Result{ID: "p"}}
	for _, test := range []struct {
		name string
		task any
		sig  canvas.Signature
		want string
	}{
		{"replaced by a member of a chord", replace(sum.Set(canvas.Opt("chord", sum))), do, fmt.Sprintf(improper, "A signature replacing a task must not be part of a chord")},
		{"replaced by nothing", replace(canvas.Chain()), do, fmt.Sprintf(improper, "Cannot replace with an empty chain")},
		{"replaced by a wrong call", replace(canvas.Sig("app.add", 1, 2, 3)), do, wrong},
		{
			"added to no chord",
			func(ctx context.Context) error { _, err := tasks.AddToChord(ctx, sum); return err },
			do,
			`FAILURE {"exc_type": "ValueError", "exc_message": ["Current task is not member of any chord"], "exc_module": "builtins"}`,
		},
		{"wrong arguments of a callback", one, do.Link(sum), wrong},
		{"wrong arguments of one of two callbacks", one, do.Link(canvas.Sig("app.do").Immutable()).Link(sum), wrong},
		{"wrong arguments of a next step", one, canvas.Chain(do, sum), wrong},
		{"right arguments of a callback", one, do.Link(canvas.Sig("app.add", 2)), "SUCCESS 1"},
		{"a callback that others have", one, do.Link(canvas.Sig("app.elsewhere", 2, 3, 4).Set(canvas.Queue("other"))), "SUCCESS 1"},
		{"no exception to Python", func() error { return tasks.Raise("SystemExit", "x") }, do, lost},
		{"a result of a task", func() (*canvas.Result, error) { return returned, nil }, do, `SUCCESS [["r", [["p", null], null]], null]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.reg.Register("app.do", test.task)
				b.reg.Register("app.add", add, tasks.Params("x, y"))
				b.start()
				b.send(test.sig)
				b.wantResult("the-id", test.want)
				b.wantQueued(0, 0)
			})
		})
	}
}

var do = canvas.Sig("app.do").Set(canvas.TaskID("the-id"))

func one() int { return 1 }

// TestNoExceptionToPythonIsALostProcess: in Celery such a task ends its process, with all that
// follows from that.
func TestNoExceptionToPythonIsALostProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		runs := 0
		b.reg.Register("app.do", func() error {
			if runs++; runs == 1 {
				return tasks.Raise("KeyboardInterrupt", "")
			}
			return nil
		}, tasks.AcksLate(true), tasks.RejectOnWorkerLost(true), tasks.AutoRetry(nil), tasks.RetryBackoff(time.Second))
		b.start()
		b.wantResult(b.send(do), "SUCCESS null")
		b.wantLog("Task handler raised error: WorkerLostError('Worker exited prematurely: KeyboardInterrupt.')")
		b.wantEvents("received", "started", "rejected", "received", "started", "succeeded")
	})
}

// TestDelaysAloneRetryNothing: RetryBackoff without AutoRetry, as retry_backoff in Celery.
func TestDelaysAloneRetryNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.reg.Register("app.add", add, tasks.Params("x, y"), tasks.RetryBackoff(time.Second))
		b.start()
		b.wantResult(b.send(canvas.Sig("app.add", 1, 2, 3)),
			`FAILURE {"exc_type": "TypeError", "exc_message": ["add() takes 2 positional arguments but 3 were given"], "exc_module": "builtins"}`)
		b.wantEvents("received", "started", "failed TypeError")
	})
}
