package compat_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// steps is what testdata/app/browser.py is to do.
type steps [][2]any

func (s *steps) add(verb string, what any) { *s = append(*s, [2]any{verb, what}) }

func (s *steps) wait(texts ...string) {
	for _, text := range texts {
		s.add("wait", text)
	}
}

// browserProgram finds Chromium.
func browserProgram() (path string, found bool) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, true
		}
	}
	return "", false
}

// drive carries out steps in a browser, and returns what its "text" steps have seen; pictures go to the test's artifacts.
func drive(t *testing.T, program string, s steps) (seen []string) {
	t.Helper()
	input, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(interpreter(flowerVenv), "browser.py", program, t.ArtifactDir())
	cmd.Dir, cmd.Stdin = appDir, bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the browser: %v\n%s", err, stderr.Bytes())
	}
	if strings.Contains(stderr.String(), "exception") {
		t.Errorf("a page's script failed:\n%s", stderr.Bytes())
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatalf("the browser printed %s: %v", out, err)
	}
	return seen
}

// TestFlowerPages looks at Flower's pages in a browser, and presses their buttons. Without
// a Chromium it cannot; scripts/test installs one where it may.
func TestFlowerPages(t *testing.T) {
	t.Parallel()
	program, found := browserProgram()
	if !found {
		t.Log("no chromium on the PATH: the pages were not looked at")
		return
	}
	a, _, w, f := watched(t)
	a.sendTasks(t)
	f.task("sum", "SUCCESS")
	f.task("failure", "FAILURE")
	f.task("long", "STARTED")

	var s steps
	s.add("goto", f.url+"/workers")
	s.wait("go@host", "Online", "Updated")
	s.add("shot", "workers")
	s.add("goto", f.url+"/worker/go@host")
	s.wait("Worker pool options", "Max concurrency", "goroutine", "Worker PID", "Prefetch Count")
	s.add("shot", "worker-pool")
	s.add("goto", f.url+"/worker/go@host?limit=500")
	for _, tab := range []struct {
		name  string
		texts []string
	}{
		{"broker", []string{"Broker options", "127.0.0.1", "redis"}},
		{"queues", []string{"Active queues", "celery", "Cancel Consumer"}},
		{"tasks", []string{"Processed tasks", "tapp.add", "Active tasks", "long", "('long', 600)"}},
		{"limits", []string{"Task limits", "tapp.add", "tapp.limited [rate_limit=4/s]"}},
		{"config", []string{"Configuration options", "broker_url"}},
		{"system", []string{"System usage statistics", "utime", "maxrss"}},
		{"other", []string{"Other statistics", "uptime"}},
	} {
		s.add("click", "#worker-tab-"+tab.name)
		s.wait(tab.texts...)
		s.add("shot", "worker-"+tab.name)
	}
	s.add("goto", f.url+"/tasks")
	s.wait("tapp.add", "tapp.fail", "tapp.work", "SUCCESS", "FAILURE", "STARTED", "RECEIVED", " ms", "go@host")
	s.add("shot", "tasks")
	s.add("goto", f.url+"/task/failure")
	s.wait("tapp.fail", "FAILURE", "('bad', 7)", "ValueError('bad', 7)", "Traceback: tapp.fail in Go", "go@host")
	s.add("shot", "task-failed")
	s.add("goto", f.url+"/task/sum")
	s.wait("tapp.add", "SUCCESS", "(2, 3)", "{'z': 1}", "6", "Runtime")
	s.add("shot", "task-succeeded")
	s.add("goto", f.url+"/broker")
	s.wait("celery")
	s.add("shot", "broker")

	s.add("goto", f.url+"/task/long")
	s.wait("STARTED")
	s.add("click", "#task-terminate")
	s.wait("Revoked 'long'")
	s.add("shot", "task-terminated")
	s.add("goto", f.url+"/worker/go@host")
	s.add("type", [2]string{"#pool-size", "3"})
	s.add("click", "#worker-pool-grow")
	s.wait("Growing 'go@host' worker's pool by 3")
	s.add("click", "#worker-tab-queues")
	s.add("type", [2]string{"#add-consumer-name", "extra"})
	s.add("click", "#worker-add-consumer")
	s.wait("add consumer extra")
	s.add("shot", "buttons")
	s.add("click", "#worker-shutdown")
	drive(t, program, s)

	if code := w.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	f.task("long", "REVOKED")
	for _, step := range s {
		if step[0] != "shot" {
			continue
		}
		if info, err := os.Stat(filepath.Join(t.ArtifactDir(), step[1].(string)+".png")); err != nil || info.Size() < 10_000 {
			t.Errorf("picture %v: %v", step[1], err)
		}
	}
}
