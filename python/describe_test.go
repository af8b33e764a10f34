package python

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is an interpreter that does something else: a shell script, which has what it is to say
// as descriptor 3.
func fake(t *testing.T, script string) Options {
	t.Helper()
	return Options{Interpreter: executable(t, "#!/bin/sh\n"+script+"\n", t.TempDir(), "python"), App: "proj", Stdout: os.Stderr}
}

func TestDescription(t *testing.T) {
	t.Parallel()
	d, err := Describe(t.Context(), fake(t, `echo '{"settings": {"broker_url": "redis://h"}, "lost": {"x": "why"}, "software": {"py": "3.9"}, "loader": "l.L"}' >&3`))
	if err != nil {
		t.Fatal(err)
	}
	if string(d.Settings) != `{"broker_url": "redis://h"}` || d.Lost["x"] != "why" || d.Software["py"] != "3.9" || d.Loader != "l.L" {
		t.Errorf("%+v", d)
	}
}

// What the process is given: the driver, the options, its folder and its environment.
func TestWhatTheProcessIsGiven(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	opts := fake(t, `[ "$1" = -c ] && pwd >out && echo "$MINE" >>out && cat <&4 >given && echo '{}' >&3`)
	opts.Dir, opts.Environ, opts.Argv = dir, []string{"MINE=yes"}, []string{"celery", "-A", "proj", "status"}
	if _, err := Describe(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if out := read("out"); out != dir+"\nyes\n" {
		t.Errorf("folder and environment: %q", out)
	}
	for _, part := range []string{`"run":"describe"`, `"app":"proj"`, `"argv":["celery","-A","proj","status"]`, `"load":"`, `"exporter":"`} {
		if given := read("given"); !strings.Contains(given, part) {
			t.Errorf("%s is not among what is given: %.200s", part, given)
		}
	}
}

func TestNoDescription(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, err string }{
		"app to blame": {
			`echo '{"error": "The module proj was not found.", "type": "ModuleNotFoundError", "traceback": "T"}' >&3`,
			"Unable to load celery application.\nThe module proj was not found.",
		},
		"no Celery":   {`echo '{"error": "T", "no_celery": true}' >&3`, "there is no Celery in PYTHON, the Python that was named"},
		"not a word":  {"exit 3", "PYTHON, the Python that was named, ended before it had loaded the app: exitcode 3"},
		"half a word": {`printf '{"settings": {' >&3`, "PYTHON, the Python that was named, ended before it had loaded the app: exitcode 0"},
		"killed": {
			"kill -9 $$",
			"Unable to load celery application.\nPYTHON, the Python that was named, ended before it had loaded the app: signal 9 (SIGKILL)",
		},
		"no JSON":      {"echo hello >&3", "python: cannot read what is said of the app: invalid character 'h' looking for beginning of value"},
		"reads no job": {"exec 4<&-; echo '{}' >&3; exit 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := fake(t, test.script)
			_, err := Describe(t.Context(), opts)
			said := ""
			if err != nil {
				said = err.Error()
			}
			if want := strings.ReplaceAll(test.err, "PYTHON", opts.Interpreter); said != want {
				t.Errorf("got %q, want %q", said, want)
			}
		})
	}
}

// Whoever does not want to wait any longer is not held up, whatever the process has left running.
func TestDescribeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancelCause(t.Context())
	opts := fake(t, "wait() { while [ ! -e done ]; do sleep 0.02; done; touch ended; }; wait & echo up >up; exec sleep 60")
	opts.Dir = t.TempDir()
	await := func(name string) {
		for _, err := os.Stat(filepath.Join(opts.Dir, name)); err != nil; _, err = os.Stat(filepath.Join(opts.Dir, name)) {
			time.Sleep(time.Millisecond)
		}
	}
	defer func() {
		executable(t, "", opts.Dir, "done")
		await("ended")
	}()
	cause := errors.New("enough")
	ended := make(chan error, 1)
	go func() {
		_, err := Describe(ctx, opts)
		ended <- err
	}()
	await("up")
	stop(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}
