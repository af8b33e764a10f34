// Package sample holds the tasks that the apium binary serves before you put your
// own there: small ones to try a producer with.
package sample

import (
	"context"
	"time"

	"github.com/apium/apium/tasks"
)

// Register adds the sample tasks to a registry:
//
//	tasks.add(x, y)            x + y, as Python adds
//	tasks.echo(value)          the value
//	tasks.sleep(seconds=1)     waits
//	tasks.fail(message=…, exc_type="RuntimeError")   raises
//	app.tasks.test(a, b)       a + b: the task of many Django tutorials
func Register(reg *tasks.Registry) {
	reg.Register("tasks.add", Add, tasks.Params("x, y"))
	reg.Register("tasks.echo", Echo, tasks.Params("value"))
	reg.Register("tasks.sleep", Sleep, tasks.Params("seconds=1"))
	reg.Register("tasks.fail", Fail, tasks.Params("message='failed on purpose', exc_type='RuntimeError'"))
	reg.Register("app.tasks.test", Add, tasks.Params("a, b"))
}

// Echo returns its argument.
func Echo(value any) any { return value }

// Sleep waits that many seconds, or until the worker stops it.
func Sleep(ctx context.Context, seconds float64) error {
	if seconds < 0 {
		return tasks.Raise("ValueError", "sleep length must be non-negative")
	}
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Fail raises a Python exception of the named class.
func Fail(message, excType string) error { return tasks.Raise(excType, message) }
