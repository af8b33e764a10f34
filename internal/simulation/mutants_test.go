package simulation_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var withMutants = flag.Bool("mutants", false, "take back what guards against faults, one after the other, and see that seeds find it")

// A mutant is the source with one guard taken out.
type mutant struct {
	file, from, to string // from is in the file once
}

var mutants = map[string]mutant{
	"tasks start on a lease that may be gone": {
		file: "worker/lease.go", from: "if l.good(r, lease, now) {", to: "if true {",
	},
	"a new term of the lease is not looked at": {
		file: "worker/lease.go", from: "r.term.Load() == lease.Term", to: "true",
	},
	"a claim whose answer was lost is forgotten": {
		file: "broker/redisbroker/claim.go", from: "claims.unsure = tags", to: "_ = tags",
	},
	"a claim whose answer was lost may still run when it is read back": {
		file: "broker/redisbroker/claim.go", from: "c.register(ctx, c.epoch.Add(1))", to: "c.register(ctx, c.epoch.Load())",
	},
	"what is sent again is done again": {
		file: "internal/redisconn/repeat.go", from: "return n > number\nend", to: "return false\nend",
	},
	"what is held gets as old as kombu's patience": {
		file: "broker/redisbroker/lease.go", from: "if #held > 0 then", to: "if false then",
	},
	"nobody hands back what the dead held": {
		file: "broker/redisbroker/peers.go", from: "if !before[id] {", to: "if true {",
	},
}

// TestMutants shows what the simulation can find: every guard in the list was put there because of a
// fault, and without it some seed fails.
func TestMutants(t *testing.T) {
	if !*withMutants {
		t.Log("ask for it with -mutants: it builds the workers anew for each")
		return
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(root, m.file)
			text, err := os.ReadFile(path) //nolint:gosec // of this repository
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.from); n != 1 {
				t.Fatalf("%s has %q %d times", m.file, m.from, n)
			}
			dir := t.TempDir()
			changed := filepath.Join(dir, "changed.go")
			write(t, changed, strings.Replace(string(text), m.from, m.to, 1))
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "overlay.json"), string(overlay))
			//nolint:gosec // built from constants
			cmd := exec.Command("go", "test", "-count=1", "-failfast", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"),
				"-run", "TestSimulation", "./internal/simulation", "-seeds", fmt.Sprint(*seeds))
			cmd.Dir = root
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Errorf("%d seeds do not find it", *seeds)
			}
			t.Logf("%.1500s", out)
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
