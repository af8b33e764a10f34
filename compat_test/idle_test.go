package compat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// toll is what a worker costs its Redis.
type toll struct {
	sent     int // commands that its connections have sent
	executed int // those that scripts have run, too
}

// watch has a Redis say what is asked of it, for so long.
func (s *redisServer) watch(t *testing.T, span time.Duration) (c toll, text string) {
	t.Helper()
	conn, err := redis.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := s.executed(t)
	if _, err := conn.Do("MONITOR"); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for deadline := time.Now().Add(span); ; {
		line, err := redis.String(redis.ReceiveWithTimeout(conn, max(time.Until(deadline), time.Millisecond)))
		if err != nil {
			if time.Now().Before(deadline) {
				t.Fatal(err)
			}
			break
		}
		if !strings.Contains(line, " lua] ") {
			c.sent++
		}
		fmt.Fprintln(&all, line)
	}
	c.executed = s.executed(t) - before
	return c, all.String()
}

// executed is how many commands a Redis has run that are not the test's.
func (s *redisServer) executed(t *testing.T) (n int) {
	t.Helper()
	for line := range strings.Lines(fmt.Sprintf("%s", s.do(t, "INFO", "commandstats"))) {
		name, rest, _ := strings.Cut(line, ":calls=")
		calls, _, _ := strings.Cut(rest, ",")
		if name == "cmdstat_info" || name == "cmdstat_monitor" {
			continue
		}
		var some int
		if _, err := fmt.Sscan(calls, &some); err == nil {
			n += some
		}
	}
	return n
}

// An idle worker sends its Redis no more commands than Celery's does, whatever options both have. What scripts run is counted apart: its
// sign of life, and the looks for dead peers and parked messages, are nothing that Celery has.
func TestIdle(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"default":     nil,
		"events":      {"-E"},
		"four queues": {"-Q", "a,b,c,d"},
		"alone":       {"--without-gossip", "--without-mingle", "--without-heartbeat"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			celerys, ours := startRedis(t), startRedis(t)
			a := celerys.app()
			python := start(t, "python worker", appDir, a.env(t), a.python(),
				append([]string{"-m", "celery", "-A", "tapp", "worker", "-c", "2", "-l", "info"}, options...)...)
			w := launch(t, workerBinary, []string{"JOURNAL=" + ours.url(1)},
				append([]string{"worker", "-b", ours.url(0), "--result-backend", ours.url(0), "-c", "2", "-l", "info"}, options...)...)
			python.waitLog(t, " ready.")
			w.waitLog(t, " ready.")
			const span, spare = 20 * time.Second, 2 // PINGs come now and then, and a look at either end
			var said string
			idle := func() bool { // it takes some seconds until it is known that there is nothing to do
				theirs := make(chan toll, 1)
				go func() {
					c, _ := celerys.watch(t, span)
					theirs <- c
				}()
				mine, text := ours.watch(t, span)
				celery := <-theirs
				perSecond := func(n int) float64 { return float64(n) / span.Seconds() }
				t.Logf("commands a second: ours %.2f, with those in scripts %.2f; Celery's %.2f",
					perSecond(mine.sent), perSecond(mine.executed), perSecond(celery.sent))
				said = text
				return mine.sent <= celery.sent+spare && perSecond(mine.executed) < 9
			}
			if !comesTrue(4*patience, idle) {
				t.Errorf("an idle worker goes on sending more:\n%s", tail(said, 6000))
			}
		})
	}
}
