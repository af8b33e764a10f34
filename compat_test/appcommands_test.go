package compat_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// command runs a command line of ours beside -A, in the app's folder.
func (a app) command(t *testing.T, line string) ended {
	t.Helper()
	if a.module == "" {
		a.module = "tapp"
	}
	return a.apiumIn(t, appDir, append([]string{"-A", a.module, "--python", a.python()}, strings.Fields(line)...)...)
}

// TestCommandsWithTheAppsSettings: beside -A, commands find the workers and queues of an app none
// of whose settings are the defaults, with every version of Celery.
func TestCommandsWithTheAppsSettings(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			a := app{venv: venv, broker: server.url(3), backend: server.url(4), settings: map[string]any{
				"task_default_queue": "mine", "control_exchange": "shopctl", "event_queue_prefix": "shopev", "task_routes": map[string]any{"tapp.same": "theirs"},
				"task_compression": "zlib",
			}}
			a.startWorker(t, "-n", "py@h", "-E")
			online := func() bool { return strings.Contains(a.command(t, "status").stdout, "1 node online.") }
			eventually(t, patience, "the worker has answered within a second", online)
			for _, test := range []struct {
				line   string
				status int
				want   string // in what it prints
			}{
				{"inspect active_queues --timeout 10 -d py@h", 0, "'name': 'mine'"},
				{"control rate_limit tapp.add 5/s --timeout 10 -d py@h", 0, "new rate limit set successfully"},
				{"call tapp.add 2 3 --wait --timeout 60", 0, "5"},
				{"call tapp.fail no --wait --timeout 60", 1, "ValueError"},
				{"send tapp.same 1 --task-id waits", 0, "waits"},
				{"list queues", 0, "theirs      1"},
				{"purge -f -Q theirs", 0, "Purged 1 message from 1 known task queue."},
				{"list bindings --all", 0, "shopctl"},
				{"dlq list", 0, "no dead letters"},
				{"unpark", 0, "0 parked messages back in 0 queues."},
				{"call tapp.add 3 4 --task-id sum", 0, "sum"},
				{"result sum --timeout 60", 0, "7"},
				{"report", 0, "task_default_queue: 'mine'"},
			} {
				ran := a.command(t, test.line)
				if ran.status != test.status || !strings.Contains(ran.stdout+ran.stderr, test.want) {
					t.Errorf("%s: status %d, stdout:\n%s\nstderr:\n%s\nwant %d and %q", test.line, ran.status, ran.stdout, ran.stderr, test.status, test.want)
				}
			}
			events := start(t, "apium events", appDir, a.env(t), apiumBinary, "-A", "tapp", "--python", a.python(), "events", "--json")
			eventually(t, patience, "an event of the worker's is heard", func() bool {
				a.command(t, "control heartbeat")
				return strings.Contains(events.log.String(), `"type": "worker-heartbeat"`)
			})
			if elsewhere := a.command(t, "status -b "+server.url(5)); elsewhere.status != 69 {
				t.Errorf("at another broker: status %d\n%s", elsewhere.status, elsewhere.stdout)
			}
		})
	}
}

// TestCommandsOfADjangoProject: with the Python of the celery command on the PATH, and from
// another folder.
func TestCommandsOfADjangoProject(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := app{broker: server.url(6)}
	bin := filepath.Dir(a.python())
	a.variables = []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "VIRTUAL_ENV="}
	worker := start(t, "celery worker", djangoDir, a.env(t), filepath.Join(bin, "celery"), "-A", "proj", "worker", "-n", "django@h", "-c", "1", "-l", "info")
	worker.waitLog(t, " ready.")
	dir := script(t, djangoDir)
	eventually(t, patience, "the worker has answered within a second", func() bool {
		return strings.Contains(a.apiumIn(t, t.TempDir(), "-A", "proj", "--workdir", dir, "status").stdout, "django@h: OK")
	})
	sum := a.apiumIn(t, djangoDir, "call", "app.tasks.test", "4", "5", "--wait", "--timeout", "60", "--app=proj.celery:app")
	if sum.status != 0 || sum.stdout != "9\n" {
		t.Errorf("status %d\n%s%s", sum.status, sum.stdout, sum.stderr)
	}
	if nowhere := a.apiumIn(t, t.TempDir(), "-A", "proj", "status"); nowhere.status != 2 || complaintOf(nowhere.stderr) != "The module proj was not found." {
		t.Errorf("in another folder: status %d\n%s", nowhere.status, nowhere.stderr)
	}
}

// TestCommandsOfTheAppsOwn: what an app adds to Celery's remote control is called as the command
// line of 5.7 calls it; those before it do not take all arguments.
func TestCommandsOfTheAppsOwn(t *testing.T) {
	t.Parallel()
	called := []string{
		"inspect repeated no 3 yes -t 10 -d py@h", "inspect repeated no -t 10 -d py@h", "control scaled 0.5 1 2 3 -t 10 -d py@h", "inspect clock -t 10 -d py@h",
	}
	refused := []string{"inspect secret", "inspect scaled 1", "inspect repeated no x", "inspect repeated no 1 yes more"}
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: venv, broker: startRedis(t).url(0), module: "ownpanel"}
			a.startWorker(t, "-n", "py@h")
			lines := slices.Concat(called, refused)
			var argv [][]string
			for _, line := range lines {
				argv = append(argv, append([]string{"-A", "ownpanel"}, strings.Fields(line)...))
			}
			var theirs []ended
			if version == "5.7" {
				theirs = a.celeryIn(t, appDir, argv)
			}
			for i, line := range lines {
				ours := a.apiumIn(t, appDir, append(argv[i], "--python", a.python())...)
				good := i < len(called)
				if good != (ours.status == 0 && strings.Contains(ours.stdout, "py@h: OK")) || !good && ours.status != 2 {
					t.Errorf("%s: status %d\n%s%s", line, ours.status, ours.stdout, ours.stderr)
				}
				if theirs == nil {
					continue
				}
				if diff := cmp.Diff(steady(theirs[i].stdout), steady(ours.stdout)); diff != "" || good != (theirs[i].status == 0) {
					t.Errorf("%s: Celery ends with %d (-Celery +Apium):\n%s", line, theirs[i].status, diff)
				}
			}
			list := a.apiumIn(t, appDir, "-A", "ownpanel", "--python", a.python(), "control", "--list")
			if !strings.Contains(list.stdout, "scaled <factor> [number ...]") || !strings.Contains(list.stdout, "Multiplies.") {
				t.Errorf("control --list:\n%s%s", list.stdout, list.stderr)
			}
		})
	}
}
