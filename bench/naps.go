package main

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// nap is how long a task of the app's sleeps, and napping how many do at once.
const (
	nap     = 50 * time.Millisecond
	napping = 1000
)

// nappers are workers that have 1,000 tasks wait at once, in one process.
func nappers() []contender {
	c := fmt.Sprint(napping)
	return []contender{
		{name: "Apium", tasks: 60_000, queue: "celery", work: apium(c)},
		{name: "Apium -A -P gevent, Python tasks", tasks: 20_000, queue: "celery", work: children(c, "1", "-P", "gevent")},
		{name: "Apium -A -P threads, Python tasks", tasks: 20_000, queue: "celery", work: children(c, "1", "-P", "threads")},
		{name: "Celery gevent", tasks: 20_000, queue: "celery", work: celery("-P", "gevent", "-c", c)},
		{name: "Celery threads", tasks: 20_000, queue: "celery", work: celery("-P", "threads", "-c", c)},
	}
}

// napped is what a round of naps shows.
type napped struct {
	speed
	peak  float64         // MB, of the worker's processes
	later []time.Duration // how much more than a nap passes from a start until 1,000 more have started
}

// measureNaps shows what tasks cost that only wait, 1,000 at once, and how evenly they start.
func measureNaps(only *regexp.Regexp) error {
	fmt.Printf("| -c %d | tasks/s | of what is possible | CPU per task | the broker's | peak memory | start to start, beyond %v: p50 | p99 | longest |\n|---|---|---|---|---|---|---|---|---|\n", napping, nap)
	for _, c := range nappers() {
		if !only.MatchString(c.name) {
			continue
		}
		m, err := medianRound(c.name, func() (napped, error) { return measureNap(c) }, func(n napped) speed { return n.speed })
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.0f %% | %v | %v | %.0f MB | %v | %v | %v |\n", c.name, m.rate, 100*m.rate/(napping/nap.Seconds()), m.cpu, m.broker, m.peak,
			percentile(m.later, 50), percentile(m.later, 99), m.later[len(m.later)-1])
	}
	return nil
}

func measureNap(c contender) (n napped, err error) {
	s, err := startRedis()
	if err != nil {
		return n, err
	}
	defer s.stop()
	t, err := capture(s, "nap.delay()")
	if err != nil {
		return n, err
	}
	results, err := t.fill(s, max(2*napping, int(float64(c.tasks)**scale)), c.queue)
	if err != nil {
		return n, err
	}
	cmd, out := command(s, c.work(s)...)
	if err := cmd.Start(); err != nil {
		return n, err
	}
	defer stop(cmd)
	used := &usage{worker: cmd.Process.Pid, broker: s.cmd.Process.Pid}
	elapsed, err := workOff(s, c, len(results), results, used)
	if err != nil {
		return n, fmt.Errorf("%w\n%s", err, out)
	}
	n.speed, n.peak = used.speed(len(results), elapsed), peakMemory(cmd.Process.Pid)
	starts, err := returned[int64](s, results)
	if err != nil {
		return n, err
	}
	slices.Sort(starts)
	for i := range len(starts) - napping {
		n.later = append(n.later, (time.Duration(starts[i+napping]-starts[i]) - nap).Round(10*time.Microsecond))
	}
	slices.Sort(n.later)
	return n, nil
}
