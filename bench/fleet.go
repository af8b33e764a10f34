package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/gomodule/redigo/redis"
)

// watched is how long an idle fleet is looked at.
const watched = 20 * time.Second

// fleet is some workers on one Redis that have nothing to do.
type fleet struct {
	name  string
	most  int // so many of them are enough of a load for this machine; 0: any number
	start func(s *server, n int) ([]*exec.Cmd, fmt.Stringer, error)
	ready string // what the output says of all, or of each
}

func fleets() []fleet {
	apium := func(more ...string) func(*server, int) ([]*exec.Cmd, fmt.Stringer, error) {
		return func(s *server, n int) ([]*exec.Cmd, fmt.Stringer, error) {
			cmd, out := command(s, append([]string{*bin + "/fleet", "-b", "redis://" + s.addr + "/0", "-n", strconv.Itoa(n), "-over", fleetStart.String()}, more...)...)
			return []*exec.Cmd{cmd}, out, cmd.Start()
		}
	}
	return []fleet{
		{name: "Apium", start: apium(), ready: "all ready"},
		{name: "Apium --without-gossip", start: apium("-gossip=false"), ready: "all ready"},
		{name: "Apium --without-gossip --without-mingle --without-heartbeat", start: apium("-gossip=false", "-mingle=false", "-heartbeat=false"), ready: "all ready"},
		{name: "Celery solo", most: 20, start: celeryFleet(), ready: " ready."},
		{name: "Celery solo --without-gossip", most: 20, start: celeryFleet("--without-gossip"), ready: " ready."},
	}
}

// celeryFleet starts a process for each worker.
func celeryFleet(more ...string) func(*server, int) ([]*exec.Cmd, fmt.Stringer, error) {
	return func(s *server, n int) (all []*exec.Cmd, out fmt.Stringer, err error) {
		said := new(shared)
		for i := range n {
			cmd, _ := command(s, celery(append([]string{"-l", "info", "-P", "solo", "-n", fmt.Sprintf("celery@web%d", i)}, more...)...)(s)...)
			cmd.Stdout, cmd.Stderr = said, said
			if err := cmd.Start(); err != nil {
				return all, said, err
			}
			all = append(all, cmd)
		}
		return all, said, nil
	}
}

// shared is what several processes say.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// measureFleet shows what n workers that have nothing to do cost their Redis: when they start, while they idle, and
// when they are asked whether they live.
func measureFleet(n int, chosen *regexp.Regexp) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| workers\t|\t|\t| Redis: CPU\t| commands\t| of them\t| in\t| out\t| connections\t| workers' CPU\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, f := range fleets() {
		if !chosen.MatchString(f.name) {
			continue
		}
		size := n
		if f.most > 0 {
			size = min(n, f.most)
		}
		if err := f.measure(size, w); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return w.Flush()
}

func (f *fleet) measure(n int, w *tabwriter.Writer) error {
	s, err := startRedis()
	if err != nil {
		return err
	}
	defer s.stop()
	before, err := lookAt(s, nil)
	if err != nil {
		return err
	}
	all, out, err := f.start(s, n)
	defer func() {
		for _, cmd := range all {
			stop(cmd)
		}
	}()
	if err != nil {
		return err
	}
	each := n
	if f.ready == "all ready" {
		each = 1
	}
	if err := awaitReady(out, f.ready, each, 3*time.Minute+*fleetStart); err != nil {
		return err
	}
	after, err := lookAt(s, all)
	if err != nil {
		return err
	}
	report := func(what string, t traffic, per float64, unit string) {
		fmt.Fprintf(w, "| %d %s\t| %s\t| %.0f s\t| %.2f s%s\t| %.0f%s\t| %s\t| %s%s\t| %s%s\t| %d\t| %.2f s%s\t|\n", n, f.name, what, t.took.Seconds(),
			t.cpu/per, unit, float64(t.calls)/per, unit, t.most(per), size(t.in/per), unit, size(t.out/per), unit, t.connections, t.workers.Seconds()/per, unit)
		_ = w.Flush()
	}
	report("start", after.since(before), 1, "")
	time.Sleep(15 * time.Second) // what the start has set going has ended
	if before, err = lookAt(s, all); err != nil {
		return err
	}
	time.Sleep(watched)
	if after, err = lookAt(s, all); err != nil {
		return err
	}
	idle := after.since(before)
	report("idle", idle, idle.took.Seconds(), "/s")
	ping, _ := command(s, *bin+"/apium", "inspect", "ping", "-b", "redis://"+s.addr+"/0", "--timeout", "5", "--json")
	var answers bytes.Buffer
	ping.Stdout = &answers
	if before, err = lookAt(s, all); err != nil {
		return err
	}
	_ = ping.Run() // its output tells
	if after, err = lookAt(s, all); err != nil {
		return err
	}
	t := after.since(before)
	report(fmt.Sprintf("inspect ping: %d answers", strings.Count(answers.String(), "pong")), t, 1, "")
	fmt.Fprintf(os.Stderr, "%s: Redis has %d MB, %d per worker: %s\n", f.name, after.memory>>20, after.memory/int64(n), lastLines(out.String()))
	return nil
}

// awaitReady waits until workers have said so often that they are ready.
func awaitReady(out fmt.Stringer, says string, times int, most time.Duration) error {
	for deadline := time.Now().Add(most); strings.Count(out.String(), says) < times; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("they are not ready after %v\n%s", most, out)
		}
	}
	return nil
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}

func size(bytes float64) string {
	switch {
	case bytes >= 1e6:
		return fmt.Sprintf("%.1f MB", bytes/1e6)
	default:
		return fmt.Sprintf("%.1f kB", bytes/1e3)
	}
}

// traffic is what Redis has done so far, or between two looks.
type traffic struct {
	at          time.Time
	took        time.Duration
	cpu         float64 // seconds
	calls       int64
	in, out     float64 // bytes
	connections int64
	memory      int64
	workers     time.Duration // their CPU time
	commands    map[string]int64
}

func lookAt(s *server, workers []*exec.Cmd) (t traffic, err error) {
	info, err := redis.String(s.conn.Do("INFO", "everything"))
	if err != nil {
		return t, err
	}
	t.at, t.commands = time.Now(), map[string]int64{}
	number := func(text string) float64 { f, _ := strconv.ParseFloat(text, 64); return f }
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_user", "used_cpu_sys":
			t.cpu += number(value)
		case "total_net_input_bytes":
			t.in = number(value)
		case "total_net_output_bytes":
			t.out = number(value)
		case "connected_clients":
			t.connections = int64(number(value)) - 1
		case "total_commands_processed":
			t.calls = int64(number(value))
		case "used_memory":
			t.memory = int64(number(value))
		}
		if command, ok := strings.CutPrefix(name, "cmdstat_"); ok {
			_, rest, _ := strings.Cut(value, "calls=")
			calls, _, _ := strings.Cut(rest, ",")
			t.commands[command] = int64(number(calls))
		}
	}
	for _, cmd := range workers {
		t.workers += cpuTime(cmd.Process.Pid)
	}
	return t, nil
}

func (t traffic) since(before traffic) traffic {
	t.took = t.at.Sub(before.at)
	t.cpu -= before.cpu
	t.in -= before.in
	t.out -= before.out
	t.calls -= before.calls
	t.workers -= before.workers
	for name := range t.commands {
		t.commands[name] -= before.commands[name]
	}
	return t
}

// most names the three most frequent commands.
func (t traffic) most(per float64) string {
	var parts []string
	left := t.commands
	for range 4 {
		best := ""
		for name, calls := range left {
			if calls > left[best] {
				best = name
			}
		}
		if best == "" {
			break
		}
		parts = append(parts, fmt.Sprintf("%s %.0f", best, float64(left[best])/per))
		delete(left, best)
	}
	return strings.Join(parts, ", ")
}
