package compat_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMemoryIsGivenBack: a worker that has had one large argument is soon as small as before.
func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	a := app{broker: startRedis(t).url(0)}
	w := startWorker(t, a)
	var length int
	a.run(t, &length, `
import json, sys, tapp
print(json.dumps(len(tapp.echo.delay("x" * (60 << 20)).get(timeout=60)["args"][0])))
`)
	if length != 60<<20 {
		t.Errorf("echoed %d bytes", length)
	}
	eventually(t, 2*patience, "memory is given back", func() bool {
		return memory(t, w, "VmRSS") < 100<<20
	})
}

// memory is a figure of a process's memory, in bytes: VmRSS, what it has; VmHWM, the most that it has ever had.
func memory(t *testing.T, p *process, figure string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), figure+":")
	var kb int
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
