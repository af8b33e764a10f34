package compat_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const formsDir = "testdata/forms"

// celeryIn runs command lines of Celery's in a folder.
func (a app) celeryIn(t *testing.T, dir string, argv [][]string) (all []ended) {
	t.Helper()
	text, err := json.Marshal(argv)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(a.python(), script(t, appDir, "cli.py"))
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(os.Environ(), a.env(t)...), bytes.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cli.py: %v\n%s", err, tail(stderr.String(), 3000))
	}
	var rows [][3]any
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		all = append(all, ended{int(r[0].(float64)), r[1].(string), r[2].(string)})
	}
	return all
}

// apiumIn runs a command line of ours in a folder.
func (a app) apiumIn(t *testing.T, dir string, args ...string) ended {
	t.Helper()
	cmd := exec.Command(apiumBinary, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), a.env(t)...)
	return toEnd(t, cmd)
}

var reportedQueue = regexp.MustCompile(`task_default_queue: '(.*)'`)

// TestFormsOfTheApp: -A finds the app that Celery finds, whatever form it has and wherever its
// settings come from, and what its code prints is not mistaken for an answer.
func TestFormsOfTheApp(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: venv}
			a.sameApp(t, "-A proj", "-A proj.celery", "-A proj.celery:app", "-A proj.other", "-A proj.other:celery", "-A proj.apps",
				"-A proj.apps:second", "-A proj.apps.second", "-A lonely", "-A lonely:instance")
			a.variables = []string{"CELERY_CONFIG_MODULE=configured"}
			a.sameApp(t, "-A envvar")
			a.variables = []string{"CELERY_LOADER=otherloader:Loader"}
			a.sameApp(t, "-A byloader")
			if version == "5.7" { // the others read the options when they have loaded the app
				a.variables = []string{"APP=envvar"}
				a.sameApp(t, "-q --config configured", "-A byloader --loader otherloader:Loader")
			}
		})
	}
}

// sameApp compares what Celery and we report of the apps that options name: each has a queue of its own.
func (a app) sameApp(t *testing.T, options ...string) {
	t.Helper()
	var argv [][]string
	for _, o := range options {
		argv = append(argv, append(strings.Fields(o), "report"))
	}
	for i, theirs := range a.celeryIn(t, formsDir, argv) {
		want := reportedQueue.FindStringSubmatch(theirs.stdout)
		if want == nil {
			t.Errorf("%s: Celery reports\n%s%s", options[i], theirs.stdout, theirs.stderr)
			continue
		}
		ours := a.apiumIn(t, formsDir, append(argv[i], "--python", a.python(), "--json")...)
		var report struct {
			Settings map[string]any
			Software map[string]string
		}
		if err := json.Unmarshal([]byte(ours.stdout), &report); err != nil {
			t.Errorf("%s: %v: stdout is\n%s\nstderr is\n%s", options[i], err, ours.stdout, ours.stderr)
			continue
		}
		if got := report.Settings["task_default_queue"]; got != want[1] {
			t.Errorf("%s: the queue is %q, to Celery %q", options[i], got, want[1])
		}
		for _, name := range []string{"celery", "kombu", "billiard", "py", "redis"} {
			if line := name + ":" + report.Software[name]; !strings.Contains(theirs.stdout, line) {
				t.Errorf("%s: Celery does not report %s:\n%s", options[i], line, theirs.stdout)
			}
		}
	}
}

// ofCommandLine is a frame that only Celery's command line has in a traceback.
var ofCommandLine = regexp.MustCompile(` {2}File "[^"]*/celery/bin/celery.py", .*\n.*\n( +[~^]+\n)?`)

// complaintOf is what is said about an app that cannot be loaded.
func complaintOf(stderr string) string {
	_, text, _ := strings.Cut(stderr, "\nUnable to load celery application.\n")
	return strings.TrimSpace(ofCommandLine.ReplaceAllString(text, ""))
}

// TestAppsThatCannotBeLoaded: every command says why in Celery's words, with the traceback, and
// ends with 2.
func TestAppsThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	apps := []string{
		"nonsense", "nonsense.celery:app", "proj.nonsense", "proj.celery:nonsense", "proj.celery.nonsense", "noapp",
		"broken", "missing", "zero", "attribute", "lonely:number",
	}
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			a := app{venv: venv}
			var argv [][]string
			for _, name := range apps {
				argv = append(argv, []string{"-A", name, "report"})
			}
			theirs := a.celeryIn(t, formsDir, argv)
			for i, name := range apps {
				ours := a.apiumIn(t, formsDir, "-A", name, "--python", a.python(), "status")
				want, got := complaintOf(theirs[i].stderr), complaintOf(ours.stderr)
				switch {
				case name == "attribute": // Celery keeps to itself where that was
					if !strings.HasPrefix(got, want+"\nTraceback (most recent call last):\n") || !strings.Contains(got, `forms/attribute.py", line 3, in <module>`) {
						t.Errorf("%s: %s\nto Celery %s", name, got, want)
					}
					want = got
				case name == "lonely:number" && version != "4.4": // Celery trips over it
					want = "'int' object has no attribute 'user_options'"
				case version == "4.4" && strings.Contains(got, "Traceback"): // it has other texts there
					want = got
				}
				if diff := cmp.Diff(want, got); got == "" || diff != "" || ours.status != 2 || ours.stdout != "" {
					t.Errorf("%s: status %d, stdout %q, stderr (-Celery +Apium):\n%s", name, ours.status, ours.stdout, diff)
				}
			}
			quits := a.apiumIn(t, formsDir, "-A", "quits", "--python", a.python(), "purge", "-f")
			if !strings.HasSuffix(quits.stderr, "SystemExit: there is no secret\n\n") || quits.status != 2 {
				t.Errorf("quits: status %d\n%s", quits.status, quits.stderr)
			}
			worker := a.apiumIn(t, formsDir, "-A", "zero", "--python", a.python(), "worker")
			if want := complaintOf(theirs[8].stderr); worker.status != 2 || version != "4.4" && complaintOf(worker.stderr) != want {
				t.Errorf("worker: status %d\n%s\nwant\n%s", worker.status, worker.stderr, want)
			}
		})
	}
}
