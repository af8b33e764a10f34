package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	celeryPrefork = "Celery prefork -c 2"
	apiumPython   = "Apium -A -c 2, Python tasks"
	asynqDefault  = "asynq c=50"
)

// contender is one worker to measure.
type contender struct {
	name  string
	tasks int    // in a round
	queue string // the list it works off
	// fill puts n calls of add on the queue and returns the keys of their results.
	fill func(s *server, n int) (results []string, err error)
	// done counts the finished ones of these results. Nil: those that exist.
	done func(conn redis.Conn, results []string) (int, error)
	// work is the worker's command line; BENCH_REDIS is in its environment.
	work func(s *server) []string
}

// apium is Apium with Go handlers.
func apium(c string, more ...string) func(*server) []string {
	return func(s *server) []string {
		url := "redis://" + s.addr + "/0"
		return append([]string{*bin + "/apium", "worker", "-b", url, "--result-backend", url, "-c", c}, more...)
	}
}

// children is Apium with the app's tasks in child processes; with the Go handlers of these names, or without.
func children(c, without string, more ...string) func(*server) []string {
	return func(*server) []string {
		return append([]string{"env", "BENCH_WITHOUT=" + without, *bin + "/apium", "-A", "bench_app", "--python", *python + "/python", "worker", "-c", c}, more...)
	}
}

// celery is Celery's own worker.
func celery(args ...string) func(*server) []string {
	return func(*server) []string {
		return append([]string{*python + "/celery", "-A", "bench_app", "worker"}, args...)
	}
}

func contenders() []contender {
	peer := func(name, c string) func(*server) []string {
		return func(*server) []string { return []string{*bin + "/" + name, "work", c} }
	}
	inSQL := func(work ...string) func(*server) []string {
		return func(*server) []string { return work }
	}
	return []contender{
		{name: apiumPython, tasks: 20_000, queue: "celery", fill: fillCelery, work: children("2", "1")},
		{name: "Apium -A -c 8, Python tasks", tasks: 20_000, queue: "celery", fill: fillCelery, work: children("8", "1")},
		{name: "Apium -A -c 2, Go tasks", tasks: 400_000, queue: "celery", fill: fillCelery, work: children("2", "", "--go-concurrency", "2")},
		{name: "Celery prefork -c 8", tasks: 6000, queue: "celery", fill: fillCelery, work: celery("-c", "8")},
		{name: "Apium -c 2", tasks: 400_000, queue: "celery", fill: fillCelery, work: apium("2")},
		{name: "Apium -c 50", tasks: 200_000, queue: "celery", fill: fillCelery, work: apium("50")},
		{name: "Apium -c 2 -E, metrics", tasks: 400_000, queue: "celery", fill: fillCelery, work: apium("2", "-E", "--metrics-addr", "127.0.0.1:0")},
		{name: "Apium -c 50 -E, metrics", tasks: 200_000, queue: "celery", fill: fillCelery, work: apium("50", "-E", "--metrics-addr", "127.0.0.1:0")},
		{name: "Apium -c 2 --prefetch-multiplier 4", tasks: 200_000, queue: "celery", fill: fillCelery, work: apium("2", "--prefetch-multiplier", "4")},
		{name: "Apium -c 10 --prefetch-multiplier 4", tasks: 200_000, queue: "celery", fill: fillCelery, work: apium("10", "--prefetch-multiplier", "4")},
		{name: celeryPrefork, tasks: 6000, queue: "celery", fill: fillCelery, work: celery("-c", "2")},
		{name: "Celery solo", tasks: 6000, queue: "celery", fill: fillCelery, work: celery("-P", "solo")},
		{name: "gocelery c=50", tasks: 1500, queue: "celery", fill: fillPeer("gocelery", metaPrefix), work: peer("gocelery", "50")},
		{name: "asynq c=2", tasks: 20_000, queue: "asynq:{default}:pending", fill: fillAsynq, done: asynqDone, work: peer("asynq", "2")},
		{name: asynqDefault, tasks: 30_000, queue: "asynq:{default}:pending", fill: fillAsynq, done: asynqDone, work: peer("asynq", "50")},
		{name: "machinery c=2", tasks: 8000, queue: "machinery", fill: fillPeer("machinery", ""), done: machineryDone, work: peer("machinery", "2")},
		{name: "machinery c=50", tasks: 8000, queue: "machinery", fill: fillPeer("machinery", ""), done: machineryDone, work: peer("machinery", "50")},
		{
			name: "Apium -c 2, django-db in PostgreSQL", tasks: 100_000, queue: "celery", fill: fillSQL, done: sqlDone,
			work: func(s *server) []string {
				return []string{*bin + "/apium", "worker", "-b", "redis://" + s.addr + "/0", "--result-backend", sqlURL(), "-c", "2"}
			},
		},
		{
			name: "Apium -A -c 2, Python tasks, django-db in PostgreSQL", tasks: 20_000, queue: "celery", fill: fillSQL, done: sqlDone,
			work: inSQL("env", "BENCH_WITHOUT=1", *bin+"/apium", "-A", "bench_sql", "--python", *python+"/python", "worker", "-c", "2"),
		},
		{
			name: "Celery prefork -c 2, django-db in PostgreSQL", tasks: 2000, queue: "celery", fill: fillSQL, done: sqlDone,
			work: inSQL(*python+"/celery", "-A", "bench_sql", "worker", "-c", "2"),
		},
		{name: limitName, tasks: 100_000, queue: "celery", fill: fillCelery, work: apium("50")},
	}
}

// command prepares a process that knows the Redis to use. Its output goes to ours
// only if it fails.
func command(s *server, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(args[0], args[1:]...)
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "PYTHONPATH=.", "BENCH_REDIS="+s.addr, "C_FORCE_ROOT=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, out
}

// stop ends a worker and its children.
func stop(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
}

// speed is how fast a worker is, and what a task costs all of its processes.
type speed struct {
	rate   float64 // tasks per second
	cpu    time.Duration
	broker time.Duration // what it costs the broker
}

// measure fills the queue, starts the worker and measures from the moment the first message
// left the queue until the last result was there. prepare, if any, sees the worker's command
// before it starts.
func measure(c contender, prepare func(*exec.Cmd)) (speed, error) {
	s, err := startRedis()
	if err != nil {
		return speed{}, err
	}
	defer s.stop()
	n := max(100, int(float64(c.tasks)**scale))
	results, err := c.fill(s, n)
	if err != nil {
		return speed{}, err
	}
	if c.name == limitName {
		rate, err := replay(s, c, results)
		return speed{rate: rate}, err
	}
	cmd, out := command(s, c.work(s)...)
	if prepare != nil {
		prepare(cmd)
	}
	if err := cmd.Start(); err != nil {
		return speed{}, err
	}
	defer stop(cmd)
	used := &usage{worker: cmd.Process.Pid, broker: s.cmd.Process.Pid}
	elapsed, err := workOff(s, c, len(results), results, used)
	if err != nil {
		return speed{}, fmt.Errorf("%w\n%s", err, out)
	}
	return used.speed(n, elapsed), nil
}

// workOff waits until a worker has worked off its queue, which had so many messages.
func workOff(s *server, c contender, queued int, results []string, used *usage) (elapsed time.Duration, err error) {
	done := c.done
	if done == nil {
		done = exist
	}
	begun := time.Time{}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		left, err := redis.Int(s.conn.Do("LLEN", c.queue))
		if err != nil {
			return 0, err
		}
		if begun.IsZero() && left < queued {
			begun = time.Now()
			used.begin()
		}
		if left > 0 {
			continue
		}
		complete, err := s.all(results, done)
		if err != nil {
			return 0, err
		}
		if complete {
			elapsed = time.Since(begun)
			used.end()
			return elapsed, nil
		}
	}
	return 0, fmt.Errorf("not finished after two minutes")
}

func fillPeer(name, prefix string) func(*server, int) ([]string, error) {
	return func(s *server, n int) ([]string, error) {
		cmd, out := command(s, *bin+"/"+name, "fill", fmt.Sprint(n))
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("fill: %w\n%s", err, out)
		}
		ids := strings.Fields(out.String())
		for i := range ids {
			ids[i] = prefix + ids[i]
		}
		return ids, nil
	}
}

func fillAsynq(s *server, n int) ([]string, error) {
	cmd, out := command(s, *bin+"/asynq", "fill", fmt.Sprint(n))
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("fill: %w\n%s", err, out)
	}
	ids, err := redis.Strings(s.conn.Do("LRANGE", "asynq:{default}:pending", 0, -1))
	for i := range ids {
		ids[i] = "asynq:{default}:t:" + ids[i]
	}
	return ids, err
}

func asynqDone(conn redis.Conn, keys []string) (int, error) {
	return count(conn, "HGET", keys, []any{"state"}, func(v string) bool { return v == "completed" })
}

func machineryDone(conn redis.Conn, keys []string) (int, error) {
	return count(conn, "GET", keys, nil, func(v string) bool { return strings.Contains(v, `"SUCCESS"`) })
}

func count(conn redis.Conn, command string, keys []string, args []any, good func(string) bool) (int, error) {
	for _, key := range keys {
		if err := conn.Send(command, append([]any{key}, args...)...); err != nil {
			return 0, err
		}
	}
	if err := conn.Flush(); err != nil {
		return 0, err
	}
	n := 0
	for range keys {
		v, err := redis.String(conn.Receive())
		if err != nil {
			return 0, err
		}
		if good(v) {
			n++
		}
	}
	return n, nil
}
