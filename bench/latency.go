package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	// probes is how often a Python client sends a task and waits for its result, for each load.
	probes = 1000
	// enough messages wait while a worker's capacity is measured; more would only take memory.
	enough = 2000
	// capacityFor is how long that takes, after as long a warm-up.
	capacityFor = 4 * time.Second
	// probesWithin is how long a client may take for all its tasks. One that shares its cores with the worker
	// may need more than a load leaves: then the tasks that wait become ever more.
	probesWithin = 2 * time.Minute
)

var errOverload = errors.New("more than there is room for")

// measureLatency shows how long a Python client waits from delay() to the result in its hands, while the worker
// has other tasks: at shares of what it can do while somebody publishes.
func measureLatency(only *regexp.Regexp) error {
	fmt.Println("| worker | load | tasks/s beside it | p50 | p99 | p99.9 |\n|---|---|---|---|---|---|")
	var limit float64
	for _, name := range []string{celeryPrefork, apiumPython, "Apium -c 2"} {
		if !only.MatchString(name) {
			continue
		}
		c := find(name)
		capacity, err := measureLoad(c, capacityOf)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		loads := []load{{"10 %", capacity / 10}, {"50 %", capacity / 2}, {"90 %", capacity * 9 / 10}}
		if limit == 0 {
			limit = capacity
		} else {
			loads = append([]load{{"90 % of Celery's", limit * 9 / 10}}, loads...)
		}
		for _, l := range append([]load{{"none", 0}}, loads...) {
			waited, err := measureLoad(c, l.probe)
			if errors.Is(err, errOverload) {
				fmt.Printf("| %s | %s | %.0f | %v | | |\n", name, l.name, l.rate, errOverload)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", name, l.name, err)
			}
			at := func(permille int) time.Duration {
				return waited[len(waited)*permille/1000].Round(10 * time.Microsecond)
			}
			fmt.Printf("| %s | %s | %.0f | %v | %v | %v |\n", name, l.name, l.rate, at(500), at(990), at(999))
		}
	}
	return nil
}

// measureLoad has a worker run, and measures something while it does.
func measureLoad[T any](c contender, what func(*server, template) (T, error)) (result T, err error) {
	s, err := startRedis()
	if err != nil {
		return result, err
	}
	defer s.stop()
	add, err := capture(s, "add.delay(1, 2)")
	if err != nil {
		return result, err
	}
	cmd, out := command(s, c.work(s)...)
	if err := cmd.Start(); err != nil {
		return result, err
	}
	defer stop(cmd)
	if _, err := once(s, add); err != nil {
		return result, fmt.Errorf("%w\n%s", err, out)
	}
	result, err = what(s, add)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return result, err
}

// capacityOf measures how many tasks a second a worker does while somebody sees to it that it always has some, and a client
// waits for results: what these take of the cores is not the worker's when its latency is measured.
func capacityOf(s *server, add template) (float64, error) {
	client, _ := command(s, *python+"/python", "bench_probe.py", "1000000")
	if err := client.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = client.Process.Kill()
		_ = client.Wait()
	}()
	var began time.Time
	published, before := 0, 0
	for end := time.Now().Add(2 * capacityFor); ; time.Sleep(time.Millisecond) {
		left, err := redis.Int(s.conn.Do("LLEN", "celery"))
		if err != nil {
			return 0, err
		}
		now, taken := time.Now(), published-left
		if began.IsZero() && now.After(end.Add(-capacityFor)) {
			began, before = now, taken
		}
		if now.After(end) {
			return float64(taken-before) / now.Sub(began).Seconds(), nil
		}
		missing := max(0, enough-left)
		if err := publish(s.conn, add, missing); err != nil {
			return 0, err
		}
		published += missing
	}
}

func publish(conn redis.Conn, add template, n int) error {
	if n <= 0 {
		return nil
	}
	messages := redis.Args{"celery"}
	for range n {
		text, _ := add.message()
		messages = append(messages, text)
	}
	_, err := conn.Do("LPUSH", messages...)
	return err
}

// load is how many tasks a second somebody else publishes.
type load struct {
	name string
	rate float64
}

// probe has the real Celery send tasks, one after the other, and returns how long it waited for each result, in
// ascending order.
func (l load) probe(s *server, add template) ([]time.Duration, error) {
	cmd, out := command(s, *python+"/python", "bench_probe.py", fmt.Sprint(probes))
	ended := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { ended <- cmd.Wait() }()
	began, sent := time.Now(), 0
	for {
		select {
		case err := <-ended:
			var waited []time.Duration
			if err == nil {
				err = json.Unmarshal([]byte(strings.TrimSpace(out.String())), &waited)
			}
			if err != nil {
				return nil, fmt.Errorf("bench_probe.py: %w\n%s", err, out)
			}
			return waited, nil
		case <-time.After(time.Millisecond):
			if time.Since(began) > probesWithin {
				_ = cmd.Process.Kill()
				<-ended
				return nil, errOverload
			}
			due := int(l.rate * time.Since(began).Seconds())
			if err := publish(s.conn, add, due-sent); err != nil {
				return nil, err
			}
			sent = max(sent, due)
		}
	}
}
