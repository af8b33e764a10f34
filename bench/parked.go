package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// measureParked shows what n tasks cost that are due in an hour: it fills the queue, starts
// a worker, and prints the memory of both sides while the broker takes them into its
// keeping, and for a while after that.
func measureParked(n int) error {
	s, err := startRedis()
	if err != nil {
		return err
	}
	defer s.stop()
	add, err := capture(s, "add.delay(1, 2)")
	if err != nil {
		return err
	}
	if _, err := fillLater(s, add, n, time.Now().Add(time.Hour)); err != nil {
		return err
	}
	before, err := redisMemory(s)
	if err != nil {
		return err
	}
	fmt.Printf("%d messages in the queue: Redis has %d MB\n\n", n, before)
	worker, out := command(s, *bin+"/apium", "worker", "-b", "redis://"+s.addr+"/0", "-c", "2")
	if err := worker.Start(); err != nil {
		return err
	}
	defer stop(worker)
	fmt.Println("| after | parked | worker's RSS | Redis |\n|---|---|---|---|")
	const every, idle = 2 * time.Second, 5
	began, took := time.Now(), time.Duration(0)
	for left := idle; left > 0; {
		time.Sleep(every)
		parked, err := redis.Int(s.conn.Do("ZCARD", "apium.parked.celery"))
		if err != nil {
			return err
		}
		used, err := redisMemory(s)
		if err != nil {
			return err
		}
		rss, _ := memory(worker.Process.Pid)
		if rss == 0 {
			return fmt.Errorf("the worker has ended: %s", out)
		}
		fmt.Printf("| %.0f s | %d | %.0f MB | %d MB |\n", time.Since(began).Seconds(), parked, rss, used)
		if parked >= n {
			if left--; took == 0 {
				took = time.Since(began)
			}
		}
	}
	fmt.Printf("\nall parked after %.0f s: %.0f tasks/s\n", took.Seconds(), float64(n)/took.Seconds())
	return nil
}

// fillLater puts n messages on the queue, with an ETA, and returns the keys of their results.
func fillLater(s *server, t template, n int, eta time.Time) ([]string, error) {
	text := strings.Replace(t.text, `"eta": null`, `"eta": `+strconv.Quote(eta.UTC().Format("2006-01-02T15:04:05.000000-07:00")), 1)
	if text == t.text {
		return nil, fmt.Errorf("Celery's message has no eta: %.300s", t.text)
	}
	t.text = text
	return t.fill(s, n, "celery")
}

// redisMemory is what Redis has allocated, in MB.
func redisMemory(s *server) (int, error) {
	info, err := redis.String(s.conn.Do("INFO", "memory"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	text, _, _ := strings.Cut(rest, "\r\n")
	bytes, err := strconv.Atoi(text)
	return bytes >> 20, err
}
