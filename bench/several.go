package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// several is some worker processes on one Redis, and how tasks are spread over lists.
type several struct {
	name  string
	count int
	tasks int
	lists []string // those that they work off: a list for each queue and priority
	work  func(node string) func(*server) []string
}

func severals() (all []several) {
	lists, queues := manyLists()
	ours := func(more ...string) func(node string) func(*server) []string {
		return func(node string) func(*server) []string {
			return apium("2", append([]string{"-l", "info", "-n", node}, more...)...)
		}
	}
	celerys := func(more ...string) func(node string) func(*server) []string {
		return func(node string) func(*server) []string {
			return celery(append([]string{"-c", "2", "-l", "info", "-n", node}, more...)...)
		}
	}
	const apiumTasks, celeryTasks = 300_000, 6000
	for _, n := range []int{1, 2, 4, 8} {
		all = append(all, several{fmt.Sprintf("%d × Apium -c 2", n), n, apiumTasks, []string{"celery"}, ours()})
	}
	for _, n := range []int{1, 2, 4, 8} {
		all = append(all, several{fmt.Sprintf("%d × Celery prefork -c 2", n), n, celeryTasks, []string{"celery"}, celerys()})
	}
	return append(all,
		several{"Apium -c 2, 50 queues × 4 priorities", 1, apiumTasks, lists, ours("-Q", queues)},
		several{"4 × Apium -c 2, 50 queues × 4 priorities", 4, apiumTasks, lists, ours("-Q", queues)},
		several{"Celery prefork -c 2, 50 queues × 4 priorities", 1, celeryTasks, lists, celerys("-Q", queues)},
	)
}

// manyLists returns the lists of 50 queues with 4 priorities each, and the queues as an option.
func manyLists() (lists []string, queues string) {
	var names []string
	for q := range 50 {
		name := fmt.Sprintf("q%d", q)
		names = append(names, name)
		for _, priority := range []string{"", "\x06\x163", "\x06\x166", "\x06\x169"} {
			lists = append(lists, name+priority)
		}
	}
	return lists, strings.Join(names, ",")
}

// measureSeveral shows how fast several workers are together, how they share the tasks, and what they cost when idle.
func measureSeveral(only *regexp.Regexp) error {
	fmt.Println("| workers | tasks/s | CPU per task | the broker's | share of a worker, of an equal one | idle: commands/s of each | … the broker's CPU of each |\n|---|---|---|---|---|---|---|")
	for _, c := range severals() {
		if !only.MatchString(c.name) {
			continue
		}
		m, err := medianRound(c.name, c.measure, func(r together) speed { return r.speed })
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %v | %v | %.2f to %.2f | %.1f | %.2f %% |\n", c.name, m.rate, m.cpu, m.broker, m.least, m.most, m.commands, 100*m.idle)
	}
	return nil
}

// together is what a round with several workers shows.
type together struct {
	speed
	least, most float64 // a worker's tasks, of an equal share
	commands    float64 // a second, of an idle worker
	idle        float64 // cores of the broker, for an idle worker
}

const idleFor = 10 * time.Second

// measure starts the workers, watches them idle, and then gives them all tasks at once.
func (c several) measure() (r together, err error) {
	s, err := startRedis()
	if err != nil {
		return r, err
	}
	defer s.stop()
	t, err := capture(s, "host.delay()")
	if err != nil {
		return r, err
	}
	var later []string
	for _, list := range c.lists {
		later = append(later, "later "+list)
	}
	results, err := t.fill(s, max(100, int(float64(c.tasks)**scale)), later...)
	if err != nil {
		return r, err
	}
	group, out, err := c.start(s)
	if err != nil {
		return r, err
	}
	defer stop(group)
	if r.commands, r.idle, err = watchIdle(s, c.count); err != nil {
		return r, err
	}
	used := &usage{worker: group.Process.Pid, broker: s.cmd.Process.Pid}
	used.begin()
	began := time.Now()
	_ = s.conn.Send("MULTI")
	for i, list := range c.lists {
		_ = s.conn.Send("RENAME", later[i], list)
	}
	if _, err := s.conn.Do("EXEC"); err != nil {
		return r, err
	}
	if err := s.finished(results); err != nil {
		return r, fmt.Errorf("%w\n%s", err, out)
	}
	elapsed := time.Since(began)
	used.end()
	r.speed = used.speed(len(results), elapsed)
	hosts, err := returned[string](s, results)
	if err != nil {
		return r, err
	}
	ran := map[string]int{}
	for _, host := range hosts {
		ran[host]++
	}
	equal := float64(len(results)) / float64(c.count)
	r.least = 1
	if len(ran) < c.count {
		r.least = 0
	}
	for _, n := range ran {
		r.least, r.most = min(r.least, float64(n)/equal), max(r.most, float64(n)/equal)
	}
	return r, nil
}

// start starts all workers below one process, and waits until they are ready.
func (c several) start(s *server) (*exec.Cmd, fmt.Stringer, error) {
	var workers [][]string
	for i := range c.count {
		workers = append(workers, c.work(fmt.Sprintf("worker%d@bench", i))(s))
	}
	group, out, err := startTogether(s, workers)
	if err != nil {
		return nil, nil, err
	}
	if err := awaitReady(out, " ready.", c.count, time.Minute); err != nil {
		stop(group)
		return nil, nil, err
	}
	return group, out, nil
}

// startTogether starts commands below one process.
func startTogether(s *server, commands [][]string) (*exec.Cmd, *shared, error) {
	var script bytes.Buffer
	for _, args := range commands {
		for _, arg := range args {
			fmt.Fprintf(&script, "'%s' ", arg)
		}
		script.WriteString("&\n")
	}
	script.WriteString("wait\n")
	group, _ := command(s, "sh", "-c", script.String())
	out := new(shared)
	group.Stdout, group.Stderr = out, out
	return group, out, group.Start()
}

// watchIdle tells what each of some workers costs Redis while it has nothing to do: commands a second, those in
// scripts, too, and cores.
func watchIdle(s *server, workers int) (commands, cores float64, err error) {
	time.Sleep(5 * time.Second) // what the start has set going has ended
	before, err := lookAt(s, nil)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(idleFor)
	after, err := lookAt(s, nil)
	if err != nil {
		return 0, 0, err
	}
	used := after.since(before)
	each := used.took.Seconds() * float64(workers)
	return float64(used.calls) / each, used.cpu / each, nil
}

// finished waits until all results are there.
func (s *server) finished(results []string) error {
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		keys, err := redis.Int(s.conn.Do("DBSIZE"))
		if err != nil {
			return err
		}
		if keys < len(results) {
			continue
		}
		if complete, err := s.all(results, exist); complete || err != nil {
			return err
		}
	}
	return fmt.Errorf("not finished after three minutes")
}
