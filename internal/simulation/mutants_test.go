package simulation_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var withMutants = flag.Bool("mutants", false, "take back what guards against faults, one after the other, and see that seeds find it, ten times as many")

// A mutant is the source with one guard taken out.
type mutant struct {
	test           string // that finds it; "": TestSimulation
	file, from, to string // from is in the file once
	also           [2]string
	frosts         bool // nodes only stand still
}

var mutants = map[string]mutant{
	"tasks start on a lease that may be gone": {
		file: "worker/lease.go", from: "if l.good(r, lease, now) {", to: "if true {",
	},
	"a new term of the lease is not looked at": {
		file: "worker/lease.go", from: "r.term.Load() == lease.Term", to: "true",
	},
	"who has stood still starts tasks on a lease that may be gone": {
		file: "worker/lease.go", from: "if l.good(r, lease, now) {", to: "if true {", frosts: true,
	},
	"who has stood still does not look at the term of the lease": {
		file: "worker/lease.go", from: "r.term.Load() == lease.Term", to: "true", frosts: true,
	},
	"a beat that stood still sends what others have sent": {
		test: "TestBeats", file: "broker/redisbroker/slots.go", from: "if leader ~= ARGV[1] then return leader end", to: "",
		also: [2]string{"elseif answer == before then", "else"}, frosts: true,
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
	"the lead of a beat that is gone does not end": {
		test: "TestBeats", file: "broker/redisbroker/slots.go", from: "redis.call('PSETEX', KEYS[1], ARGV[2], ARGV[1])", to: "redis.call('SET', KEYS[1], ARGV[1])",
	},
	"a beat that stands by does not ask again": {
		test: "TestBeats", file: "beat/lead.go", from: "min(asks, left+time.Millisecond)", to: "left + time.Hour",
	},
	"a slot is sent by who does not lead, whatever was stored meanwhile": {
		test: "TestBeats", file: "broker/redisbroker/slots.go", from: "if leader ~= ARGV[1] then return leader end", to: "",
		also: [2]string{"elseif answer == before then", "else"}, // either guards against it
	},
	"a copy beside its message is run": {
		test: "TestRabbit", file: "broker/amqpbroker/void.go", from: "	if void {\n		c.log", to: "	if false {\n		c.log",
	},
	"a copy is looked at before its giver has ended": {
		test: "TestRabbit", file: "broker/amqpbroker/transfer.go", from: "return q.Consumers == 0 }", to: "return true }",
	},
	"what comes again runs again beside itself": {
		test: "TestRabbit", file: "broker/amqpbroker/join.go", from: "if o.heir == nil {\n			o.heir", to: "if false {\n			o.heir",
	},
	"a task starts that has come by a connection that is lost": {
		test: "TestRabbit", file: "broker/amqpbroker/join.go", from: "		c.term.Add(1)\n", to: "",
		also: [2]string{"	return o != nil\n}", "	return true\n}"},
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
			mutated := string(text)
			for _, change := range [][2]string{{m.from, m.to}, m.also} {
				if n := strings.Count(mutated, change[0]); n != 1 && change[0] != "" {
					t.Fatalf("%s has %q %d times", m.file, change[0], n)
				}
				mutated = strings.Replace(mutated, change[0], change[1], 1)
			}
			dir := t.TempDir()
			changed := filepath.Join(dir, "changed.go")
			write(t, changed, mutated)
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "overlay.json"), string(overlay))
			test := cmp.Or(m.test, "TestSimulation")
			//nolint:gosec // built from constants
			cmd := exec.Command("go", "test", "-count=1", "-failfast", "-timeout=0", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"),
				"-run", test+"$", "./internal/simulation", "-seeds", fmt.Sprint(10**seeds), fmt.Sprintf("-frosts=%t", m.frosts))
			cmd.Dir = root
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: "+test) || strings.Contains(string(out), "panic: ") {
				t.Errorf("%d seeds do not find it", 10**seeds)
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
