package compat_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clocksAhead are by how many seconds the clocks of workers are ahead whose clocks are apart.
var clocksAhead = [besieged]string{"-300", "300"}

// buildApart builds the worker with a package time whose clock CLOCK_AHEAD moves by so many seconds. Timers and what is measured
// stay as they are, as when somebody sets a machine's clock wrongly.
func buildApart(t *testing.T) (program string) {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir, at := t.TempDir(), filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(at, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !bytes.Contains(source, []byte(now)) {
		t.Fatal("this Go's time.Now is another one than this test knows")
	}
	moved := bytes.Replace(source, []byte(now), []byte(now+"\tsec += ahead\n"), 1)
	overlay := map[string]string{}
	for name, text := range map[string][]byte{
		"time.go": moved,
		"ahead.go": []byte(`package time

import "syscall"

var ahead = func() int64 {
	text, _ := syscall.Getenv("CLOCK_AHEAD")
	n, _ := atoi(text)
	return int64(n)
}()
`),
	} {
		overlay[filepath.Join(at, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, encoded(t, map[string]any{"Replace": overlay}), 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "worker")
	command(t, "", nil, "go", "build", "-overlay", list, "-o", program, "./testdata/worker")
	return program
}

// wantWarned looks whether doctor finds the clocks that are wrong.
func (s *siege) wantWarned() {
	s.t.Helper()
	doctor := start(s.t, "apium doctor", "", nil, apiumBinary, "-b", s.app.broker, "doctor")
	eventually(s.t, patience, "doctor has looked", doctor.stopped)
	for _, want := range []string{"w0@host is at least 5 min behind", "w1@host is at least 5 min ahead"} {
		if !doctor.log.contains(want) {
			s.t.Errorf("doctor does not say that %s:\n%s", want, doctor.log.String())
		}
	}
}
