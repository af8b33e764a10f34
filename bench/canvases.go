package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// canvas is a number of workflows of one kind, or of large tasks.
type canvas struct {
	name  string
	kind  string // as in bench_canvas.py
	count int
	size  int // steps of a chain, parts of a chord, bytes of an argument
	tasks int // of all
}

func canvases() []canvas {
	scaled := func(n int) int { return max(1, int(float64(n)**scale)) }
	chains, long, chords, wide, large, big := scaled(100), scaled(1000), scaled(1000), scaled(10_000), scaled(400), scaled(400)
	return []canvas{
		{fmt.Sprintf("%d chains of 100", chains), "chain", chains, 100, chains * 100},
		{fmt.Sprintf("a chain of %d", long), "chain", 1, long, long},
		{fmt.Sprintf("%d chords of 10", chords), "chord", chords, 10, chords * 11},
		{fmt.Sprintf("a chord of %d", wide), "chord", 1, wide, wide + 1},
		{fmt.Sprintf("a chord of %d × 600 kB", large), "large chord", 1, large, large + 1},
		{fmt.Sprintf("%d tasks of 1 MB", big), "large task", big, 1_000_000, big},
	}
}

// args are those of bench_canvas.py.
func (c canvas) args(what string) []string {
	return []string{*python + "/python", "bench_canvas.py", what, c.kind, strconv.Itoa(c.count), strconv.Itoa(c.size)}
}

// publish lets the real Celery publish, and returns the keys of the last results.
func (c canvas) publish(s *server) ([]string, error) {
	cmd, out := command(s, c.args("publish")...)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("bench_canvas.py: %w\n%s", err, out)
	}
	keys := strings.Fields(out.String())
	for i := range keys {
		keys[i] = metaPrefix + keys[i]
	}
	return keys, nil
}

// ran is a measurement of canvases.
type ran struct {
	speed
	peak       float64 // MB, of the worker's processes
	withClient float64 // tasks per second, with a client that publishes and waits meanwhile
}

// measureCanvases prints how fast workers work off canvases: those that were published before they start, and
// those of a client that publishes and waits.
func measureCanvases(only *regexp.Regexp) error {
	fmt.Println("| canvases | worker | tasks/s | CPU per task | the broker's | peak memory | × Celery | with the client | × Celery |\n|---|---|---|---|---|---|---|---|---|")
	for _, c := range canvases() {
		workers := []string{celeryPrefork, apiumPython, "Apium -c 2"}
		workers = slices.DeleteFunc(workers, func(name string) bool { return !only.MatchString(c.name + ", " + name) })
		all := map[string][]ran{}
		for range *rounds {
			for _, name := range workers {
				r, err := c.measure(find(name))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, name, err)
				}
				say(c.name+", "+name, r.speed)
				all[name] = append(all[name], r)
			}
		}
		for _, name := range workers {
			c.row(name, all[name], all[celeryPrefork])
		}
	}
	return nil
}

// row prints the medians of a worker's rounds, beside Celery's if there are any.
func (c canvas) row(name string, own, celery []ran) {
	of := func(all []ran, what func(ran) float64) float64 {
		var values []float64
		for _, r := range all {
			values = append(values, what(r))
		}
		slices.Sort(values)
		return median(values)
	}
	times := func(what func(ran) float64) string {
		if len(celery) == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", of(own, what)/of(celery, what))
	}
	rate, withClient := func(r ran) float64 { return r.rate }, func(r ran) float64 { return r.withClient }
	fmt.Printf("| %s | %s | %.0f | %v | %v | %.0f MB | %s | %.0f | %s |\n", c.name, name, of(own, rate),
		medianOf(own, func(r ran) time.Duration { return r.cpu }), medianOf(own, func(r ran) time.Duration { return r.broker }),
		of(own, func(r ran) float64 { return r.peak }), times(rate), of(own, withClient), times(withClient))
}

// measure lets a worker work off the canvases twice: those in its queue, and then those of a client.
func (c canvas) measure(w contender) (r ran, err error) {
	s, err := startRedis()
	if err != nil {
		return r, err
	}
	defer s.stop()
	results, err := c.publish(s)
	if err != nil {
		return r, err
	}
	queued, err := redis.Int(s.conn.Do("LLEN", w.queue))
	if err != nil {
		return r, err
	}
	cmd, out := command(s, w.work(s)...)
	profiled := *cpu != ""
	if profiled {
		cmd.Env = append(cmd.Env, "BENCH_CPU="+*cpu)
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer stop(cmd)
	used := &usage{worker: cmd.Process.Pid, broker: s.cmd.Process.Pid, profiled: profiled}
	elapsed, err := workOff(s, w, queued, results, used)
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, out)
	}
	r.speed, r.peak = used.speed(c.tasks, elapsed), peakMemory(cmd.Process.Pid)
	client, said := command(s, c.args("get")...)
	if err := client.Run(); err != nil {
		return r, fmt.Errorf("bench_canvas.py: %w\n%s", err, said)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(said.String()), 64)
	r.withClient = float64(c.tasks) / seconds
	return r, err
}

// peakMemory adds up the most that a process and all below it have had, in MB.
func peakMemory(root int) (mb float64) {
	for _, pid := range family(root) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, rest, found := strings.Cut(string(status), "VmHWM:"); found {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			mb += kb / 1024
		}
	}
	return mb
}
