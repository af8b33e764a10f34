package compat_test

import (
	"testing"
)

// startWorker starts our worker with the tasks of testdata/worker and waits until
// it is ready. A panic or a fatal error in its log fails the test.
func startWorker(t *testing.T, a app, args ...string) *process {
	t.Helper()
	p := launchWorker(t, a, args...)
	p.waitLog(t, " ready.")
	return p
}

// launchWorker does not wait.
func launchWorker(t *testing.T, a app, args ...string) *process {
	t.Helper()
	return launchProgram(t, workerBinary, a, args...)
}

// launchProgram starts another build of our worker.
func launchProgram(t *testing.T, program string, a app, args ...string) *process {
	t.Helper()
	if a.backend == "" {
		a.backend = a.broker
	}
	if a.ours == "" {
		a.ours = a.backend
	}
	flags := []string{"worker", "-b", a.broker, "--result-backend", a.ours, "-c", "2", "-l", "info", "--without-gossip", "--without-mingle"}
	return launch(t, program, append(a.variables[:len(a.variables):len(a.variables)], "JOURNAL="+a.journal), append(flags, args...)...)
}

// launch starts one with just these flags.
func launch(t *testing.T, program string, env []string, args ...string) *process {
	t.Helper()
	p := start(t, "apium worker", "", env, program, args...)
	t.Cleanup(func() {
		p.kill()
		for _, bad := range []string{"\npanic: ", "\nfatal error: ", "DATA RACE"} {
			if p.log.contains(bad) {
				t.Errorf("%q in the worker's log:\n%s", bad, tail(p.log.String(), 6000))
			}
		}
	})
	return p
}
