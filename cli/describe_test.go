package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/internal/embedded"
)

// fakePython is an interpreter that says these settings of any app. It leaves beside itself what
// its options were, and the variables that Celery's command line sets.
func fakePython(t *testing.T, settings map[string]any) (path string) {
	t.Helper()
	dir := t.TempDir()
	answer, err := json.Marshal(map[string]any{
		"settings": settings, "lost": map[string]string{"task_routes.0": "a function"}, "loader": "some.Loader",
		"commands": []map[string]any{{
			"name": "mine", "type": "inspect", "signature": "<n> [word ...]", "help": "Is mine.", "args": [][]string{{"n", "int"}}, "variadic": "words",
		}},
		"software": map[string]string{"celery": "5.7.0 (x)", "kombu": "5.7.1", "py": "3.11.2", "billiard": "4.3.0", "redis": "8.1.0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "python")
	script := fmt.Sprintf("#!/bin/sh\ncat <&4 >'%[1]s/given'\nenv | grep ^CELERY_ | sort >'%[1]s/env'\necho '%[2]s' >&3\n", dir, answer)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return path
}

// asked is what a fake Python was asked.
type asked struct {
	App  string
	Argv []string
	env  string // lines
}

func askedOf(t *testing.T, python string) asked {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(python), name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var given struct{ Options asked }
	if err := json.Unmarshal(read("given"), &given); err != nil {
		t.Fatal(err)
	}
	given.Options.env = strings.TrimSpace(string(read("env")))
	return given.Options
}

// Commands that talk to workers take broker, queues and all else from the app that -A names.
func TestCommandsReadTheApp(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	python := fakePython(t, map[string]any{
		"broker_url": server.URL(), "result_backend": server.URL(), "task_default_queue": "mine", "task_routes": map[string]any{"proj.echo": "theirs"},
		"task_queues": []map[string]any{{"name": "mine"}, {"name": "theirs"}},
	})
	for _, test := range []struct {
		line   string
		status int
		want   string // in what it prints
	}{
		{"send proj.add 1 2", exitOK, "-"},
		{"call proj.echo 1", exitOK, "-"},
		{"list queues", exitOK, "mine        1   1   0"},
		{"list queues --json", exitOK, `{"name": "theirs", "ready": 1`},
		{"list bindings", exitOK, "Queue"},
		{"purge -f", exitOK, "Purged 2 messages from 2 known task queues."},
		{"dlq list", exitOK, "no dead letters"},
		{"unpark", exitOK, "0 parked messages back in 0 queues."},
		{"result nosuch --traceback", exitOK, "\n"},
		{"inspect ping --timeout 0.01", exitUnavailable, "No nodes replied within time constraint"},
		{"control disable_events --timeout 0.01", exitUnavailable, "No nodes replied within time constraint"},
		{"status --timeout 0.01", exitUnavailable, "No nodes replied within time constraint"},
		{"report", exitOK, "broker_url: '" + server.URL()},
	} {
		status, stdout, stderr := call(t, append([]string{"-A", "proj", "--python", python}, strings.Fields(test.line)...)...)
		if status != test.status || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%s: status %d, stdout:\n%s\nstderr:\n%s\nwant %d and %q", test.line, status, stdout, stderr, test.status, test.want)
		}
	}
}

// The app's code is told what Celery's command line would tell it, wherever options stand.
func TestWhatTheAppIsTold(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]asked{
		"-A proj report":                      {App: "proj"},
		"report --app=proj.celery:app":        {App: "proj.celery:app"},
		"--app proj report":                   {App: "proj"},
		"-A proj -b redis://other/3 report":   {App: "proj", env: "CELERY_BROKER_URL=redis://other/3"},
		"report -A proj --loader mine:Loader": {App: "proj", env: "CELERY_LOADER=mine:Loader"},
		"-A proj --config celeryconfig report --skip-checks --result-backend redis://r": {
			App: "proj", env: "CELERY_CONFIG_MODULE=celeryconfig\nCELERY_RESULT_BACKEND=redis://r\nCELERY_SKIP_CHECKS=true",
		},
		"-A proj --config conf.celery_json report": {App: "proj", env: "CELERY_CONFIG_MODULE=conf.celery_json"},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			python := fakePython(t, map[string]any{"broker_url": "redis://h/1"})
			args := append(strings.Fields(line), "--python", python)
			want.Argv = append([]string{"celery"}, args...)
			status, _, stderr := call(t, args...)
			if status != exitOK {
				t.Fatalf("status %d\n%s", status, stderr)
			}
			if diff := cmp.Diff(want, askedOf(t, python), cmp.AllowUnexported(asked{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the command line says about a setting wins over the app's.
func TestFlagsWinOverTheApp(t *testing.T) {
	t.Parallel()
	python := fakePython(t, map[string]any{"broker_url": "redis://app/1", "result_backend": "redis://app/2", "broker_transport_options": map[string]any{"visibility_timeout": 60}})
	_, stdout, stderr := call(t, "-A", "proj", "--python", python, "-b", "redis://flag/3", "report", "--json", "--broker-transport-options", "visibility_timeout=70")
	var report struct {
		Loader   string
		Software map[string]string
		Settings struct {
			BrokerURL     string `json:"broker_url"`
			ResultBackend string `json:"result_backend"`
			Options       struct {
				Timeout float64 `json:"visibility_timeout"`
			} `json:"broker_transport_options"`
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	if s := report.Settings; s.BrokerURL != "redis://flag/3" || s.ResultBackend != "redis://app/2" || s.Options.Timeout != 70 {
		t.Errorf("%s", stdout)
	}
	if report.Loader != "some.Loader" || report.Software["py"] != "3.11.2" {
		t.Errorf("%s", stdout)
	}
}

// The report has what Celery's has, in its form.
func TestReportOfAnApp(t *testing.T) {
	t.Parallel()
	_, stdout, _ := call(t, "-A", "proj", "--python", fakePython(t, map[string]any{"broker_url": "redis://:secret@h/1"}), "report")
	for _, want := range []string{
		"\n            celery:5.7.0 (x) kombu:5.7.1 py:3.11.2\n            billiard:4.3.0 redis:8.1.0\nplatform -> ",
		"\nloader   -> some.Loader\nsettings -> transport:redis results:disabled\n", "\nbroker_url: 'redis://:********@h/1'\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
}

// What keeps an app from running here is no reason not to report on it.
func TestReportOfWhatIsNotSupported(t *testing.T) {
	t.Parallel()
	python := fakePython(t, map[string]any{"broker_url": "sqs://guest@localhost//", "result_backend": "django-db"})
	status, stdout, stderr := call(t, "-A", "proj", "--python", python, "report")
	if status != exitOK || !strings.Contains(stdout, "\nsettings -> transport:sqs results:django-db\n") {
		t.Errorf("status %d\n%s", status, stdout)
	}
	for _, want := range []string{"Warning: broker: sqs:// is not supported yet", "Warning: task_routes.0 is known to Python only: a function\n"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in:\n%s", want, stderr)
		}
	}
}

// A settings file beside -A is the settings, and no Python is needed; a name that neither is nor
// could be a module is taken for a file, too.
func TestSettingsFileBesideAnApp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	conf := filepath.Join(dir, "celery.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := call(t, "-A", "proj", "--python", "/no/such/python", writeConfig(t, "broker_url = 'redis://file/4'"), "report")
	if status != exitOK || !strings.Contains(stdout, "redis://file/4") {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
	for _, config := range []string{conf, "celery.json", "no such module"} {
		status, _, stderr := call(t, "-A", "proj", "--python", "/no/such/python", "--config", config, "status")
		if status == exitOK || !strings.Contains(stderr, config+": ") {
			t.Errorf("%s: status %d\n%s", config, status, stderr)
		}
	}
}

// The default broker is not that of an app which names none.
func TestAppWithoutBroker(t *testing.T) {
	t.Parallel()
	python := fakePython(t, map[string]any{})
	status, _, stderr := call(t, "-A", "proj", "--python", python, "status")
	if want := "The app 'proj' names no broker, and Celery would take amqp://guest@localhost// then: name the broker with -b"; status != exitUsage || !strings.Contains(stderr, want) {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

// As with Celery, the app may be named in the environment.
func TestAppOfTheEnvironment(t *testing.T) {
	for _, variable := range []string{"APP", "CELERY_APP"} {
		t.Run(variable, func(t *testing.T) {
			python := fakePython(t, map[string]any{"broker_url": "redis://h"})
			t.Setenv(variable, "proj")
			t.Setenv("APIUM_PYTHON", python)
			if status, _, stderr := call(t, "report"); status != exitOK {
				t.Fatalf("status %d\n%s", status, stderr)
			}
			if app := askedOf(t, python).App; app != "proj" {
				t.Errorf("the app is %q", app)
			}
		})
	}
}

// Commands that the app adds to remote control are known, and their arguments read.
func TestCommandsOfTheAppItself(t *testing.T) {
	t.Parallel()
	python := fakePython(t, map[string]any{"broker_url": "memory://"})
	for line, want := range map[string]string{
		"inspect --list":        "mine <n> [word ...]",
		"inspect mine x":        "Invalid value for n: 'x' is not an integer",
		"control mine 1":        "Did you mean 'apium inspect mine'?",
		"inspect min":           "Did you mean 'mine'?",
		"inspect mine 1 a -t 0": "No nodes replied within time constraint",
	} {
		_, stdout, stderr := call(t, append([]string{"-A", "proj", "--python", python}, strings.Fields(line)...)...)
		if !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: no %q in\n%s%s", line, want, stdout, stderr)
		}
	}
}
