package compat_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// What nothing can stand in for is named, and the worker goes on without only if it is told to.
func TestRefusedHooks(t *testing.T) {
	t.Parallel()
	for _, version := range slices.Sorted(maps.Keys(peers)) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: peers[version], broker: startRedis(t).url(0), module: "refusedhooks", variables: []string{"REFUSED=1"}}
			w := start(t, "apium worker", appDir, a.env(t), apiumBinary, "-A", a.module, "--python", a.python(), "worker")
			if code := w.exitCode(t); code != 2 {
				t.Errorf("exit status %d", code)
			}
			log := w.log.String()
			for _, name := range []string{"Own", "Consumes", "Connected", "busy"} {
				if !strings.Contains(log, "refusedhooks."+name+" (") {
					t.Errorf("%s is not named:\n%s", name, log)
				}
			}
			w = a.startChildren(t, "--ignore-python-hooks", "-B")
			w.waitLog(t, "Going on without refusedhooks.Consumes")
			w.waitLog(t, "Going on without refusedhooks.embedded")
			refusedByBeat(t, a)
		})
	}
}

// The worker is what the app's receivers make of it: its queues and the number of its children.
func TestReceiversChangeTheWorker(t *testing.T) {
	t.Parallel()
	for _, version := range slices.Sorted(maps.Keys(peers)) {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: peers[version], broker: startRedis(t).url(0), module: "refusedhooks"}
			w := a.startChildren(t)
			var sum int
			a.run(t, &sum, "from refusedhooks import add; print(add.apply_async((1, 2), queue='extra').get(timeout=60))")
			if log := w.log.String(); sum != 3 || !strings.Contains(log, "concurrency: 3 ") || strings.Contains(log, ".> celery ") {
				t.Errorf("sum %d; log:\n%s", sum, log)
			}
		})
	}
}

// refusedByBeat: what hears of Celery's beat is named, too.
func refusedByBeat(t *testing.T, a app) {
	t.Helper()
	beat := func(args ...string) *process {
		return start(t, "apium beat", appDir, a.env(t), apiumBinary, append([]string{"-A", a.module, "--python", a.python(), "beat"}, args...)...)
	}
	b := beat()
	if code := b.exitCode(t); code != 2 {
		t.Errorf("exit status %d", code)
	}
	for _, name := range []string{"beats", "stamps"} {
		if !b.log.contains("refusedhooks." + name + " (") {
			t.Errorf("%s is not named:\n%s", name, b.log.String())
		}
	}
	if b.log.contains("refusedhooks.embedded") {
		t.Errorf("it hears of beats in workers only:\n%s", b.log.String())
	}
	b = beat("--ignore-python-hooks", "-l", "info")
	b.waitLog(t, "Going on without refusedhooks.beats")
	b.waitLog(t, "beat: Starting...")
	endBeat(t, b)
}
