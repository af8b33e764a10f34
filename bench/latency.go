package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	// probes is how many tasks Python clients send and wait for, for each load: beyond p99.9 lie ten.
	probes = 10_000
	// probesPerSecond is what all clients together send, whatever the load.
	probesPerSecond = 100
	// probesWithin is how long that may take. Clients share their cores with the worker, and may need more than
	// a load leaves: then the tasks that wait become ever more.
	probesWithin = 2 * probes / probesPerSecond * time.Second
	// settled is how long a load has lasted before the first probe.
	settled = 2 * time.Second
	// capacityFor is how long a worker's capacity is measured, after as long a warm-up.
	capacityFor = 8 * time.Second
	// fewest messages wait at least for a worker with two slots while that is measured.
	fewest = 8
)

var errOverload = errors.New("more than there is room for")

// measureLatency shows how long a Python client waits from delay() to the result in its hands, while the worker
// has other tasks: at shares of what it can do while somebody publishes.
func measureLatency(only *regexp.Regexp) error {
	fmt.Println("| worker | load | tasks/s beside it | p50 | p99 | p99.9 |\n|---|---|---|---|---|---|")
	var celerys float64
	for _, name := range []string{celeryPrefork, apiumPython, "Apium -c 2"} {
		if !only.MatchString(name) {
			continue
		}
		c := find(name)
		capacity, err := measureLoad(c, capacityOf)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, l := range loadsOf(capacity, celerys) {
			waited, err := measureLoad(c, l.probe)
			if errors.Is(err, errOverload) {
				fmt.Printf("| %s | %s | %.0f | %v | | |\n", name, l.name, l.rate, errOverload)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", name, l.name, err)
			}
			at := func(permille int) time.Duration { return quantile(waited, permille).Round(10 * time.Microsecond) }
			fmt.Printf("| %s | %s | %.0f | %v | %v | %v |\n", name, l.name, l.rate, at(500), at(990), at(999))
		}
		if name == celeryPrefork {
			celerys = capacity
		}
	}
	return nil
}

// load is how many tasks a second somebody else publishes.
type load struct {
	name string
	rate float64
}

// loadsOf are those beside which a worker is measured, by its capacity and Celery's; zero if that is not known, or its own.
func loadsOf(capacity, celerys float64) []load {
	loads := []load{{"none", 0}}
	if celerys > 0 {
		loads = append(loads, load{"90 % of Celery's", celerys * 9 / 10})
	}
	return append(loads, load{"10 %", capacity / 10}, load{"50 %", capacity / 2}, load{"90 %", capacity * 9 / 10})
}

// quantile returns the shortest time that so many of a thousand do not exceed.
func quantile(ascending []time.Duration, permille int) time.Duration {
	return ascending[(len(ascending)*permille+999)/1000-1]
}

// measureLoad has a worker run, and warm clients, and measures something while they do.
func measureLoad[T any](c contender, what func(*server, template, *clients) (T, error)) (result T, err error) {
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
	if _, err = once(s, add); err == nil {
		result, err = withClients(s, func(all *clients) (T, error) { return what(s, add, all) })
	}
	stop(cmd)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return result, err
}

// feed keeps as few messages waiting as a worker needs to have always some until somebody looks again: the clients' tasks wait
// behind them, and clients that are held up would leave the worker more of the cores than they do when latency is measured.
type feed struct{ published, taken, wanted int }

// missing tells how many messages to publish where so many are left. Twice as many are to wait as were taken between two looks; a worker that
// took all is given more until it does not. What a long pause between looks needed is soon forgotten.
func (f *feed) missing(left int) int {
	taken := f.published - left
	f.wanted = max(fewest, 2*(taken-f.taken), f.wanted/2)
	f.taken = taken
	n := max(0, f.wanted-left)
	f.published += n
	return n
}

// capacityOf measures how many tasks a second a worker does while somebody sees to it that it always has some, and clients
// send theirs and wait for results as they do when its latency is measured: what these take of the cores is not the worker's then.
func capacityOf(s *server, add template, all *clients) (float64, error) {
	if err := all.begin(); err != nil {
		return 0, err
	}
	var began time.Time
	var f feed
	before := 0
	for end := time.Now().Add(2 * capacityFor); ; {
		left, err := redis.Int(s.conn.Do("LLEN", "celery"))
		if err != nil {
			return 0, err
		}
		now := time.Now()
		if err := publish(s.conn, add, f.missing(left)); err != nil {
			return 0, err
		}
		if began.IsZero() && now.After(end.Add(-capacityFor)) {
			began, before = now, f.taken
		}
		if now.After(end) {
			return float64(f.taken-before) / now.Sub(began).Seconds(), nil
		}
		select {
		case c := <-all.told:
			return 0, c.early()
		case <-time.After(time.Millisecond):
		}
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

// probe has the clients send their tasks beside the load, and returns how long they waited for each result, in ascending order.
func (l load) probe(s *server, add template, all *clients) (waited []time.Duration, err error) {
	began, sent, begun := time.Now(), 0, false
	for left := len(all.list); left > 0; {
		select {
		case c := <-all.told:
			if c.err != nil {
				return nil, c.err
			}
			waited = append(waited, c.waited...)
			left--
		case <-time.After(time.Millisecond):
		}
		since := time.Since(began)
		if since > settled+probesWithin {
			return nil, errOverload
		}
		if !begun && since > settled {
			begun = true
			if err := all.begin(); err != nil {
				return nil, err
			}
		}
		due := int(l.rate * since.Seconds())
		if err := publish(s.conn, add, due-sent); err != nil {
			return nil, err
		}
		sent = max(sent, due)
	}
	slices.Sort(waited)
	return waited, nil
}
