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
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		var kb int
		if _, err := fmt.Sscan(rest, &kb); err != nil {
			t.Fatal(err)
		}
		return kb < 100<<10
	})
}
