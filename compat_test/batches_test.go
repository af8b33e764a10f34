package compat_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// optionalBinary builds the worker with the tasks of testdata/optional, once.
var optionalBinary = sync.OnceValues(func() (program string, err error) {
	program = filepath.Join(filepath.Dir(workerBinary), "optional")
	out, err := exec.Command("go", "build", "-o", program, "./testdata/optional").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return program, err
})

// startOptional starts that worker.
func startOptional(t *testing.T, a app, args ...string) *process {
	t.Helper()
	program, err := optionalBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := launchProgram(t, program, a, args...)
	p.waitLog(t, " ready.")
	return p
}

// batched runs an expression of batched.py.
func (a app) batched(t *testing.T, out any, expression string) {
	t.Helper()
	a.run(t, out, "import json, batched; print(json.dumps("+expression+"))")
}

// TestBatches: what a Python producer sends comes to the same in batches of ours as in those of celery-batches: calls for
// as many, the same results, the same records. Theirs may run beside each other, and ours fill in any order.
func TestBatches(t *testing.T) {
	t.Parallel()
	type came struct {
		Results json.RawMessage
		numbers []string
		threes  int // calls for three
	}
	work := func(t *testing.T, s *redisServer, start func(a app)) (c came) {
		var ids json.RawMessage
		a := s.app()
		a.batched(t, &ids, "batched.send('batched.double', 6) + batched.send('batched.soon', 2)")
		start(a)
		a.batched(t, &c.Results, fmt.Sprintf("batched.results(%s)", ids))
		for _, call := range s.journalKeys(t, "batches") {
			numbers := strings.Fields(call)
			c.numbers = append(c.numbers, numbers...)
			c.threes += len(numbers) / 3
		}
		slices.Sort(c.numbers)
		eventually(t, patience, "all is acknowledged", func() bool { return s.idle(t, "celery") })
		return c
	}
	theirs := work(t, startRedis(t), func(a app) {
		a.module = "batched"
		a.startWorker(t)
	})
	ours := work(t, startRedis(t), func(a app) { startOptional(t, a) })
	if string(theirs.Results) != string(ours.Results) {
		t.Errorf("results\nPython %s\nApium  %s", theirs.Results, ours.Results)
	}
	want := strings.Fields("0 0 1 1 2 3 4 5")
	for who, c := range map[string]came{"Python": theirs, "Apium": ours} {
		if !slices.Equal(c.numbers, want) || c.threes != 2 {
			t.Errorf("%s ran %q, %d times three at once", who, c.numbers, c.threes)
		}
	}
}

// TestHalfFullBatch: a worker that is killed loses nothing that waits for its batch: a peer gets it, and runs it when it is
// told to end.
func TestHalfFullBatch(t *testing.T) {
	t.Parallel()
	const n = 20
	s := startRedis(t)
	a := s.app()
	killed := startOptional(t, a, "-n", "killed@host")
	var ids json.RawMessage
	a.batched(t, &ids, fmt.Sprintf("batched.send('batched.slowly', %d)", n))
	eventually(t, patience, "all wait", func() bool { return killed.log.count("batched.slowly[") == n && s.int(t, "HLEN", "unacked") == n })
	killed.kill()
	peer := startOptional(t, a, "-n", "peer@host")
	eventually(t, patience, "the peer has all", func() bool { return peer.log.count("batched.slowly[") == n })
	if calls := s.journalKeys(t, "batches"); len(calls) > 0 {
		t.Errorf("calls %q, while a batch is half full", calls)
	}
	peer.signal(t, syscall.SIGTERM)
	if code := peer.exitCode(t); code != 0 {
		t.Errorf("the peer has ended with %d", code)
	}
	var results [][2]any
	a.batched(t, &results, fmt.Sprintf("batched.results(%s)", ids))
	if len(results) != n || !s.idle(t, "celery") {
		t.Errorf("results %v", results)
	}
	var ran []string
	for _, call := range s.journalKeys(t, "batches") {
		ran = append(ran, strings.Fields(call)...)
	}
	if len(ran) != n {
		t.Errorf("%d tasks have run: %q", len(ran), ran)
	}
}
