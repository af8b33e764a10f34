// Package sample holds the tasks that the apium binary serves before you put your
// own there: small ones to try a producer with. Their names are nobody else's.
package sample

import (
	"context"
	"slices"
	"time"

	"github.com/apium/apium/tasks"
)

// samples are the tasks of this package.
var samples = []struct {
	name, params string
	fn           any
}{
	{"demo.add", "x, y", Add},
	{"demo.echo", "value", Echo},
	{"demo.sleep", "seconds=1", Sleep},
	{"demo.fail", "message='failed on purpose', exc_type='RuntimeError'", Fail},
}

// Register adds the sample tasks to a registry, but for those whose names are taken:
//
//	demo.add(x, y)            x + y, as Python adds
//	demo.echo(value)          the value
//	demo.sleep(seconds=1)     waits
//	demo.fail(message=…, exc_type="RuntimeError")   raises
func Register(reg *tasks.Registry) {
	for _, s := range samples {
		if _, taken := reg.Lookup(s.name); !taken {
			reg.Register(s.name, s.fn, tasks.Params(s.params))
		}
	}
}

// Only tells whether a registry holds samples and nothing else.
func Only(reg *tasks.Registry) bool {
	names := reg.Names()
	for _, s := range samples {
		names = slices.DeleteFunc(names, func(name string) bool { return name == s.name })
	}
	return len(names) == 0 && len(reg.Names()) > 0
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
