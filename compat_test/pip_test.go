package compat_test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pipEnvironment makes a Python environment with Celery, Django and the wheel, and returns its
// folder.
func pipEnvironment(t *testing.T, wheel string) string {
	t.Helper()
	venv := filepath.Join(t.TempDir(), "venv")
	command(t, "", nil, interpreter(celery57), "-m", "venv", venv)
	pipInstall(t, interpreter(venv), "-r", "requirements/celery-5.7.txt", wheel)
	return venv
}

func pipInstall(t *testing.T, python string, args ...string) {
	t.Helper()
	command(t, "", nil, python, append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, args...)...)
}

// TestPipInstall: pip puts the program beside the project's Python, and there it runs the project
// as it is, until its tasks are moved to Go.
func TestPipInstall(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	wheel := buildWheel(t, root, "1.2.3")
	venv := pipEnvironment(t, wheel)
	t.Run("program", func(t *testing.T) {
		t.Parallel()
		wantInstalled(t, wheel, venv)
	})
	t.Run("django", func(t *testing.T) {
		t.Parallel()
		moveDjango(t, venv)
	})
	t.Run("tutorial", func(t *testing.T) {
		t.Parallel()
		followTutorial(t, venv)
	})
}

// wantInstalled looks whether the program is found wherever pip may have put it.
func wantInstalled(t *testing.T, wheel, venv string) {
	target, prefix := filepath.Join(t.TempDir(), "target"), filepath.Join(t.TempDir(), "prefix")
	pipInstall(t, interpreter(celery57), "--no-deps", "--target", target, wheel)
	pipInstall(t, interpreter(celery57), "--no-deps", "--prefix", prefix, wheel)
	packages, err := filepath.Glob(filepath.Join(prefix, "lib", "python3*", "site-packages"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("pip install --prefix made %q (%v)", packages, err)
	}
	said := regexp.MustCompile(`^apium 1\.2\.3 \(` + runtime.GOOS + "-" + runtime.GOARCH + `-go1\.\d+(\.\d+)?\)$`)
	for how, out := range map[string]string{
		"apium":                          command(t, "", nil, filepath.Join(venv, "bin", "apium"), "version"),
		"python -m apium":                command(t, "", nil, interpreter(venv), "-m", "apium", "version"),
		"python -m apium after --target": command(t, "", []string{"PYTHONPATH=" + target}, interpreter(celery57), "-m", "apium", "version"),
		"python -m apium after --prefix": command(t, "", []string{"PYTHONPATH=" + packages[0]}, interpreter(celery57), "-m", "apium", "version"),
	} {
		if !said.MatchString(out) {
			t.Errorf("%s version says %q, want %s", how, out, said)
		}
	}
}

// moveDjango is the whole way: a Django view delays a task, which runs in Python under the program
// from the wheel; then in Go, in a program made from this module's main.go.
func moveDjango(t *testing.T, venv string) {
	server := startRedis(t)
	a := app{venv: venv, broker: server.url(0)}
	zone, err := time.LoadLocation("Asia/Shanghai") // the project's TIME_ZONE
	if err != nil {
		t.Fatal(err)
	}
	site := startDjango(t, a)
	for _, step := range []struct {
		program string
		args    []string
		runs    string // where app.tasks.test does
	}{
		{filepath.Join(venv, "bin", "apium"), nil, "ForkPoolWorker-[12]"}, // as a unit file has it
		{filepath.Join(venv, "bin", "python"), []string{"-m", "apium"}, "ForkPoolWorker-[12]"},
		{goProgram(t, `reg.Register("app.tasks.test", func(a, b int) int { return a + b }, tasks.Params("a, b"))`), []string{"--python", a.python()}, "MainProcess"},
	} {
		id, other := browse(t, site+"/test/"), browse(t, site+"/greet/?name=Ada")
		w := start(t, "worker", djangoDir, a.env(t), step.program, append(step.args, "-A", "proj", "worker", "-c", "2", "-l", "info")...)
		var got []any
		djangoResults(t, a, &got, id, other)
		if g, want := toJSON(t, got), `[3,{"text":"您好, Ada"}]`; g != want {
			t.Errorf("%s: results %s, want %s", filepath.Base(step.program), g, want)
		}
		w.signal(t, syscall.SIGTERM)
		if code := w.exitCode(t); code != 0 {
			t.Errorf("%s: exit status %d", filepath.Base(step.program), code)
		}
		for task, process := range map[string]string{"app.tasks.test[" + id: step.runs, "app.tasks.greet[" + other: "ForkPoolWorker-[12]"} {
			if line := regexp.MustCompile(`/` + process + `\] Task ` + regexp.QuoteMeta(task) + `\] succeeded in `); !line.MatchString(w.log.String()) {
				t.Errorf("%s: no line %q", filepath.Base(step.program), line)
			}
		}
		for _, line := range regexp.MustCompile(`(?m)^\[([-: \d]+),\d+: \w+/(\w+)`).FindAllStringSubmatch(w.log.String(), -1) {
			at, err := time.ParseInLocation(time.DateTime, line[1], zone)
			if ago := time.Since(at); err != nil || ago < 0 || ago > 2*patience {
				t.Errorf("%s: a line of %s is from %s, %s ago (%v)", filepath.Base(step.program), line[2], at, ago, err)
			}
		}
	}
}

// goProgram builds a program from a copy of this module's main.go, with a line in place of the
// sample tasks, as a module of its own.
func goProgram(t *testing.T, register string) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	dir := t.TempDir()
	_, required, _ := strings.Cut(read("go.mod"), "\nrequire (") // the versions that the module cache has
	for name, text := range map[string]string{
		"main.go": strings.NewReplacer("sample.Register(reg)", register, "\t\"github.com/apium/apium/tasks/sample\"\n", "").Replace(read("main.go")),
		"go.sum":  read("go.sum"),
		"go.mod": "module example.org/mysite\n\ngo 1.26.0\n\nrequire github.com/apium/apium v0.0.0\n\n" +
			"replace github.com/apium/apium => " + root + "\n\nrequire (" + required,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command(t, dir, []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off"}, "go", "build", "-o", "mysite", ".")
	return filepath.Join(dir, "mysite")
}
