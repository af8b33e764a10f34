package main

import (
	"bufio"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// measureDue shows how late n tasks start that are due in the same second, while workers keep ten times as many for
// later.
func measureDue(n int, only *regexp.Regexp) error {
	fmt.Println("| worker | for later | due at once | started | of it each worker | the first, after their time | median | p99 | the last | CPU per task | the broker's | peak memory |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, c := range []dueTogether{
		{find("Apium -c 2"), 1, 10 * n, n},
		{find("Apium -c 50"), 1, 10 * n, n},
		{find("Apium -c 2"), 2, 10 * n, n},
		{find("Apium -c 2"), 4, 10 * n, n},
		{find(apiumPython), 1, 10 * n, n / 10},
		{find(celeryPrefork), 1, 0, n / 10}, // it keeps them in its memory
	} {
		if c.workers > 1 {
			c.name = fmt.Sprintf("%d × %s", c.workers, c.name)
		}
		if !only.MatchString(c.name) {
			continue
		}
		if err := c.measure(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// dueTogether is some workers, and the tasks that they are given.
type dueTogether struct {
	contender
	workers    int
	later, due int
}

func (c dueTogether) measure() error {
	s, err := startRedis()
	if err != nil {
		return err
	}
	defer s.stop()
	add, err := capture(s, "add.delay(1, 2)")
	if err != nil {
		return err
	}
	now, err := capture(s, "now.delay()")
	if err != nil {
		return err
	}
	if c.later > 0 {
		if _, err := fillLater(s, add, c.later, time.Now().Add(time.Hour)); err != nil {
			return err
		}
	}
	var commands [][]string
	var metrics []string // where each worker has them
	for i := range c.workers {
		work := append(c.work(s), "-n", fmt.Sprintf("worker%d@bench", i))
		if c.name != celeryPrefork {
			port, err := freePort()
			if err != nil {
				return err
			}
			work = append(work, "--metrics-addr", "127.0.0.1:"+port)
			metrics = append(metrics, "http://127.0.0.1:"+port+"/metrics")
		}
		commands = append(commands, work)
	}
	group, out, err := startTogether(s, commands)
	if err != nil {
		return err
	}
	defer stop(group)
	taken := func() error {
		for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if waiting, err := redis.Int(s.conn.Do("LLEN", "celery")); waiting == 0 || err != nil {
				return err
			}
		}
		return fmt.Errorf("they are not taken\n%s", out)
	}
	if err := taken(); err != nil {
		return err
	}
	at := time.Now().Add(time.Duration(c.due/2500+5) * time.Second).Truncate(time.Second) // it takes them before that
	results, err := fillLater(s, now, c.due, at)
	if err != nil {
		return err
	}
	if err := taken(); err != nil {
		return err
	}
	if left := time.Until(at); left < 0 {
		return fmt.Errorf("they were taken %v late", -left)
	}
	used := &usage{worker: group.Process.Pid, broker: s.cmd.Process.Pid}
	used.begin()
	if err := s.finished(results); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	used.end()
	each := used.speed(c.due, time.Since(at))
	started, all := "?", 0
	var shares []string
	for _, url := range metrics {
		n, err := begun(url)
		if err != nil {
			return err
		}
		all += n
		started, shares = strconv.Itoa(all), append(shares, strconv.Itoa(n))
	}
	starts, err := returned[int64](s, results)
	if err != nil {
		return err
	}
	slices.Sort(starts)
	after := func(percent int) time.Duration {
		return time.Unix(0, starts[(len(starts)-1)*percent/100]).Sub(at).Round(time.Millisecond)
	}
	fmt.Printf("| %s | %d | %d | %s | %s | %v | %v | %v | %v | %v | %v | %.0f MB |\n", c.name, c.later, c.due, started, strings.Join(shares, ", "), after(0), after(50), after(99), after(100), each.cpu, each.broker, peakMemory(group.Process.Pid))
	return nil
}

// begun tells how many tasks a worker has begun, by its metrics.
func begun(url string) (n int, err error) {
	r, err := http.Get(url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Body.Close() }()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if name, value, _ := strings.Cut(lines.Text(), " "); strings.HasPrefix(name, "celery_task_started_total{") {
			count, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			n += int(count)
		}
	}
	return n, lines.Err()
}
