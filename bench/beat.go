package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/gomodule/redigo/redis"
)

// beatContender is a beat, and where its entries are.
type beatContender struct {
	name      string
	scheduler string // by its short name; "": beat_schedule
	argv      []string
}

func beatContenders(dir string) (all []beatContender) {
	for _, place := range []struct{ name, scheduler string }{
		{"beat_schedule", ""}, {"django-celery-beat in PostgreSQL", "django"}, {"RedBeat", "redbeat"},
	} {
		flags := []string{"-S", place.scheduler}
		if place.scheduler == "" {
			flags = []string{"-s", filepath.Join(dir, "schedule")}
		}
		apium := []string{*bin + "/apium", "-A", "bench_beat", "--python", *python + "/python", "beat"}
		celery := []string{*python + "/celery", "-A", "bench_beat", "beat", "--pidfile="}
		if place.scheduler == "redbeat" { // Celery has no short name for it
			celery = append(celery, "-S", "redbeat.RedBeatScheduler")
		} else {
			celery = append(celery, flags...)
		}
		all = append(all, beatContender{"Apium, " + place.name, place.scheduler, append(apium, flags...)}, beatContender{"Celery, " + place.name, place.scheduler, celery})
	}
	return all
}

// measureBeats prints what sending n periodic tasks costs, and how late they are sent: the time between the
// first two messages of an entry, beyond its interval.
func measureBeats(n int, only *regexp.Regexp) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Printf("%d entries, with intervals of 20 to 40 s:\n\n", n)
	fmt.Println("| beat | CPU, of one core | CPU per message | late: p50 | p99 | most |\n|---|---|---|---|---|---|")
	for _, c := range beatContenders(dir) {
		if !only.MatchString(c.name) {
			continue
		}
		if err := c.measure(n); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// fill puts n entries where the beat will look for them, and returns what its process has to know.
func (c *beatContender) fill(s *server, n int) ([]string, error) {
	env := []string{fmt.Sprintf("BENCH_ENTRIES=%d", n), "BENCH_SCHEDULER=" + c.scheduler}
	switch c.scheduler {
	case "":
		return env, nil
	case "django":
		if _, err := sharedPostgres(); err != nil {
			return nil, err
		}
	}
	cmd, out := command(s, *python+"/python", "bench_beat.py")
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("bench_beat.py: %w\n%s", err, out)
	}
	return env, nil
}

func (c *beatContender) measure(n int) error {
	s, err := startRedis()
	if err != nil {
		return err
	}
	defer s.stop()
	env, err := c.fill(s, n)
	if err != nil {
		return err
	}
	cmd, out := command(s, c.argv...)
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Start(); err != nil {
		return err
	}
	defer stop(cmd)
	late, cpu, took, err := lateness(s, n, cmd)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	slices.Sort(late)
	at := func(share float64) time.Duration {
		return late[int(share*float64(len(late)-1))].Round(100 * time.Microsecond)
	}
	perMessage := cpu / time.Duration(2*n)
	fmt.Printf("| %s | %.1f %% | %v | %v | %v | %v |\n", c.name, 100*cpu.Seconds()/took.Seconds(), perMessage.Round(time.Microsecond), at(.5), at(.99), at(1))
	return nil
}

// lateness takes messages until each of n entries has sent two, and returns how late the second was, and what
// the beat has computed since the first of all.
func lateness(s *server, n int, cmd *exec.Cmd) (late []time.Duration, cpu, took time.Duration, err error) {
	first := make([]time.Time, n)
	var began time.Time
	for len(late) < n {
		reply, err := redis.Strings(s.conn.Do("BRPOP", "celery", 60))
		if err != nil {
			return nil, 0, 0, fmt.Errorf("after %d of %d second messages: %w", len(late), n, err)
		}
		now := time.Now()
		if began.IsZero() {
			began, cpu = now, -cpuTime(cmd.Process.Pid)
		}
		i, err := entryOf(reply[1])
		switch {
		case err != nil:
			return nil, 0, 0, err
		case first[i].IsZero():
			first[i] = now
		case first[i].Unix() > 0:
			interval := time.Duration((20 + 20*float64(i)/float64(n)) * float64(time.Second))
			late = append(late, max(0, now.Sub(first[i])-interval))
			first[i] = time.Unix(0, 0)
		}
	}
	return late, cpu + cpuTime(cmd.Process.Pid), time.Since(began), nil
}

// entryOf is the number of the entry that has sent a message: its task's first argument.
func entryOf(message string) (int, error) {
	var m struct{ Body []byte }
	if err := json.Unmarshal([]byte(message), &m); err != nil {
		return 0, err
	}
	var body [3]json.RawMessage
	var args [2]int
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return 0, err
	}
	err := json.Unmarshal(body[0], &args)
	return args[0], err
}
