package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
)

func find(name string) contender {
	all := contenders()
	return all[slices.IndexFunc(all, func(c contender) bool { return c.name == name })]
}

// costs prints what one task costs, and what waiting for one does.
func costs() error {
	fmt.Println("\n| | Apium | Apium -A, Python tasks | Celery prefork -c 2 |\n|---|---|---|---|")
	mallocs, size, err := allocations()
	if err != nil {
		return fmt.Errorf("allocations: %w", err)
	}
	fmt.Printf("| allocations per task, -c 50 | %.1f (%.0f bytes) | | |\n", mallocs, size)
	writes, size, err := roundTrips()
	if err != nil {
		return fmt.Errorf("round trips: %w", err)
	}
	fmt.Printf("| writes to Redis per task, -c 50 | %.3f (%.0f bytes) | | |\n", writes, size)
	var idles [3]idle
	for i, name := range []string{"Apium -c 2", apiumPython, celeryPrefork} {
		if idles[i], err = measureIdle(find(name)); err != nil {
			return fmt.Errorf("%s, idle: %w", name, err)
		}
	}
	a, p, c := idles[0], idles[1], idles[2]
	fmt.Printf("| memory of an idle worker, all its processes: RSS | %.0f MB | %.0f MB | %.0f MB |\n", a.rss, p.rss, c.rss)
	fmt.Printf("| … PSS (shared pages counted once) | %.0f MB | %.0f MB | %.0f MB |\n", a.pss, p.pss, c.pss)
	fmt.Printf("| publish → handler starts, idle worker: p50 | %v | %v | %v |\n", a.p50, p.p50, c.p50)
	fmt.Printf("| … p99 | %v | %v | %v |\n", a.p99, p.p99, c.p99)
	return nil
}

// allocations runs the worker twice, on a short and on a long queue, and divides the
// difference of its counters by that of the tasks: its start costs nothing then.
func allocations() (count, size float64, err error) {
	var seen [2][2]float64
	lengths := [2]int{20_000, 100_000}
	for i, n := range lengths {
		seen[i], err = counters(n)
		if err != nil {
			return 0, 0, err
		}
	}
	tasks := float64(lengths[1] - lengths[0])
	return (seen[1][0] - seen[0][0]) / tasks, (seen[1][1] - seen[0][1]) / tasks, nil
}

func counters(n int, env ...string) (seen [2]float64, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return seen, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	report := filepath.Join(dir, "mem")
	err = whileWorking(n, append(env, "BENCH_MEM="+report), nil, func(cmd *exec.Cmd) error {
		if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			return err
		}
		for range 5000 {
			text, _ := os.ReadFile(report)
			if fields := strings.Fields(string(text)); bytes.HasSuffix(text, []byte("\n")) {
				for i := range seen {
					seen[i], _ = strconv.ParseFloat(fields[i], 64)
				}
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		return fmt.Errorf("the worker reports nothing")
	})
	return seen, err
}

// whileWorking lets Apium work off n tasks; started and finished are called with it
// alive, before and after.
func whileWorking(n int, env []string, started, finished func(*exec.Cmd) error) error {
	s, err := startRedis()
	if err != nil {
		return err
	}
	defer s.stop()
	c := find("Apium -c 50")
	results, err := c.fill(s, n)
	if err != nil {
		return err
	}
	cmd, out := command(s, c.work(s)...)
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	defer stop(cmd)
	if started != nil {
		time.Sleep(100 * time.Millisecond) // until it listens to signals
		if err := started(cmd); err != nil {
			return err
		}
	}
	if _, err := workOff(s, c, len(results), results, new(usage)); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return finished(cmd)
}

func profile(path string) error {
	signal := func(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGUSR2) }
	return whileWorking(300_000, []string{"BENCH_CPU=" + path}, signal, func(cmd *exec.Cmd) error {
		err := signal(cmd)
		time.Sleep(time.Second) // the profile is written
		return err
	})
}

// roundTrips counts what a worker under load writes to Redis, per task.
func roundTrips() (writes, size float64, err error) {
	const n = 50_000
	s, err := startRedis()
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	c := find("Apium -c 50")
	results, err := c.fill(s, n)
	if err != nil {
		return 0, 0, err
	}
	r, err := record(s.addr)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = r.listener.Close() }()
	cmd, out := command(s, c.work(&server{addr: r.listener.Addr().String()})...)
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer stop(cmd)
	if _, err := workOff(s, c, len(results), results, new(usage)); err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, out)
	}
	for _, w := range r.taken() {
		writes++
		size += float64(len(w.data))
	}
	return writes / n, size / n, nil
}

type idle struct {
	rss, pss float64 // MB
	p50, p99 time.Duration
}

// measureIdle starts a worker on an empty queue, publishes one task at a time and
// compares the time of publishing with the time the task returns.
func measureIdle(c contender) (idle, error) {
	s, err := startRedis()
	if err != nil {
		return idle{}, err
	}
	defer s.stop()
	now, err := capture(s, "now.delay()")
	if err != nil {
		return idle{}, err
	}
	cmd, out := command(s, c.work(s)...)
	if err := cmd.Start(); err != nil {
		return idle{}, err
	}
	defer stop(cmd)
	var delays []time.Duration
	const warmUp, measured = 20, 300
	for i := range warmUp + measured {
		delay, err := once(s, now)
		if err != nil {
			return idle{}, fmt.Errorf("%w\n%s", err, out)
		}
		if i >= warmUp {
			delays = append(delays, delay.Round(time.Microsecond))
		}
		time.Sleep(10 * time.Millisecond) // until it is idle again
	}
	time.Sleep(time.Second)
	result := idle{p50: percentile(delays, 50), p99: percentile(delays, 99)}
	result.rss, result.pss = memory(cmd.Process.Pid)
	return result, nil
}

func percentile(d []time.Duration, p int) time.Duration {
	slices.Sort(d)
	return d[len(d)*p/100]
}

func once(s *server, t template) (time.Duration, error) {
	text, id := t.message()
	published := time.Now()
	if _, err := s.conn.Do("LPUSH", "celery", text); err != nil {
		return 0, err
	}
	for time.Since(published) < 30*time.Second {
		raw, err := redis.Bytes(s.conn.Do("GET", metaPrefix+id))
		if errors.Is(err, redis.ErrNil) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return 0, err
		}
		var meta struct{ Result int64 }
		if err := json.Unmarshal(raw, &meta); err != nil {
			return 0, fmt.Errorf("%w: %s", err, raw)
		}
		return time.Unix(0, meta.Result).Sub(published), nil
	}
	return 0, fmt.Errorf("no result after 30 s")
}

// memory adds up a process and all below it.
func memory(root int) (rss, pss float64) {
	for _, pid := range family(root) {
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(rollup)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			kb, _ := strconv.ParseFloat(fields[1], 64)
			switch fields[0] {
			case "Rss:":
				rss += kb / 1024
			case "Pss:":
				pss += kb / 1024
			}
		}
	}
	return rss, pss
}
