package compat_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	producer "github.com/apium/apium/app" // app is the Python one here
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

var (
	soakFor  = flag.Duration("soak", 0, "TestSoak: how long it goes on; scripts/soak says more. Default: a few rounds of two kinds")
	soakIdle = flag.Duration("idle", 0, "TestSoak: idle for so long between the first rounds and the last ones, of all kinds")
)

// TestSoak: whatever comes and goes while a worker works, and however long it idles, what it needs comes back to what it was:
// memory, goroutines, descriptors, connections, keys and queues, processes.
func TestSoak(t *testing.T) {
	t.Parallel()
	for _, of := range []struct {
		broker  string
		start   brokerKind
		workers string
		short   bool // these two use all that there is
	}{
		{"redis", startRedis, "go", false},
		{"redis", startRedis, "children", true},
		{"rabbitmq", startRabbit, "go", true},
		{"rabbitmq", startRabbit, "children", false},
	} {
		if *soakFor == 0 && *soakIdle == 0 && !of.short {
			continue
		}
		t.Run(of.broker+"/"+of.workers, func(t *testing.T) {
			t.Parallel()
			newSoak(t, of.start(t), of.workers).run(t)
		})
	}
}

// soak is one worker through which much passes.
type soak struct {
	server *redisServer
	worker *process
	page   string // its metrics
	asks   control.Client
	shop   *producer.App
	rounds int
	sent   int
}

func newSoak(t *testing.T, server *redisServer, kind string) *soak {
	t.Helper()
	s := &soak{server: server}
	a := server.app()
	a.settings = map[string]any{"task_ignore_result": true}
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s.page = "http://" + at + "/metrics"
	args := []string{"--metrics-addr", at, "-n", "w1@host", "-c", "2", "-l", "warning"} // a log of all would fill this process's memory
	if kind == "go" {
		s.worker = launchWorker(t, a, append(args, "-E")...)
	} else {
		flags := []string{"-A", "tapp", "--python", a.python(), "worker", "--max-tasks-per-child", "100"}
		s.worker = start(t, "apium worker", appDir, a.env(t), apiumBinary, append(flags, args...)...)
	}
	eventually(t, patience, "the worker is ready", func() bool {
		answer, err := http.Get("http://" + at + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	asker := server.asker(t)
	s.asks = control.Client{Broadcaster: asker, Asker: asker}
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend, conf.TaskIgnoreResult = a.broker, "disabled://", true
	var err error
	if s.shop, err = producer.Open(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.shop.Close() })
	return s
}

// run has rounds of churn, and then compares what the worker needs with what it needed after the first ones.
func (s *soak) run(t *testing.T) {
	t.Helper()
	const warm = 3 // rounds after which all has been used once
	for range warm {
		s.churn(t)
	}
	start := s.settled(t, nil)
	if *soakIdle > 0 {
		t.Logf("before %v without a task: %v", *soakIdle, start)
		time.Sleep(*soakIdle)
		after := s.settled(t, start)
		t.Logf("after it: %v", after)
		if complaint := after.beyond(start); complaint != "" {
			t.Error(complaint)
		}
	}
	for began := time.Now(); s.rounds < 2*warm || time.Since(began) < *soakFor; {
		s.churn(t)
		if *soakFor > 0 && s.rounds%200 == 0 {
			t.Logf("after %d rounds, %d tasks, %v: %v", s.rounds, s.sent, time.Since(began).Round(time.Second), s.figures(t))
			time.Sleep(min(*soakFor/20, 10*time.Minute)) // idle
		}
	}
	end := s.settled(t, start)
	t.Logf("%d tasks in %d rounds:\nstart %v\nend   %v", s.sent, s.rounds, start, end)
	if complaint := end.beyond(start); complaint != "" {
		t.Error(complaint)
	}
	s.worker.signal(t, syscall.SIGTERM)
	if code := s.worker.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// churn is one round: a queue comes and goes, the pool grows and shrinks, connections are dropped, tasks run, by way of
// both queues.
func (s *soak) churn(t *testing.T) {
	t.Helper()
	s.rounds++
	queue := fmt.Sprint("churn", s.rounds%2)
	s.ask(t, "add_consumer", map[string]any{"queue": queue})
	s.ask(t, "pool_grow", map[string]any{"n": 3})
	sigs := make([]canvas.Signature, 300)
	if *soakFor > 0 {
		sigs = make([]canvas.Signature, 3000)
	}
	for i := range sigs {
		sigs[i] = canvas.Sig("tapp.ignored", i).Set(canvas.Queue([]string{"celery", queue}[i%2]))
		if i%10 == 0 {
			sigs[i] = sigs[i].Set(canvas.Countdown(time.Second))
		}
	}
	eventually(t, patience, "tasks are sent", func() bool {
		_, err := s.shop.SendAll(t.Context(), sigs...)
		return err == nil
	})
	s.sent += len(sigs)
	if s.rounds%3 == 0 {
		if s.server.vhost != nil {
			s.server.vhost.CloseConnections(t)
		} else {
			for _, kind := range []string{"normal", "pubsub"} {
				s.server.do(t, "CLIENT", "KILL", "TYPE", kind)
			}
		}
	}
	eventually(t, patience, "all tasks have run", func() bool { return s.server.messages(t, "celery", queue) == 0 })
	s.ask(t, "pool_shrink", map[string]any{"n": 3})
	s.ask(t, "cancel_consumer", map[string]any{"queue": queue})
}

// ask has the worker do something, and waits until it has said that it did.
func (s *soak) ask(t *testing.T, command string, arguments map[string]any) {
	t.Helper()
	text, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, command, func() bool {
		replies, err := s.asks.Ask(t.Context(), control.Question{Command: command, Arguments: text, Destination: []string{"w1@host"}, Timeout: 20 * time.Second}, nil)
		return err == nil && len(replies) == 1
	})
}

// figures are what a worker needs.
type figures map[string]int

func (s *soak) figures(t *testing.T) figures {
	t.Helper()
	page := scrape(t, s.page)
	f := figures{
		"goroutines": int(sum(page, `go_goroutines.*`)), "descriptors": int(sum(page, `process_open_fds.*`)), "MiB": int(sum(page, `process_resident_memory_bytes.*`)) >> 20,
		"heap MiB": int(sum(page, `go_memstats_heap_inuse_bytes.*`)) >> 20, "processes": len(descendants(t, s.worker.cmd.Process.Pid)),
		"keys": s.server.int(t, "DBSIZE"), "connections to Redis": strings.Count(fmt.Sprintf("%s", s.server.do(t, "CLIENT", "LIST")), "\n"),
	}
	if s.server.vhost != nil {
		f["queues"], f["bindings"], f["connections"] = len(s.server.vhost.Queues(t)), len(s.server.vhost.Bindings(t)), len(s.server.vhost.Connections(t))
	}
	return f
}

// settled returns the figures when they have come to rest: when they are not beyond others, or else the same for a while.
func (s *soak) settled(t *testing.T, start figures) (f figures) {
	t.Helper()
	last, same := "", 0
	comesTrue(patience, func() bool {
		f = s.figures(t)
		text := fmt.Sprint(f)
		if same++; text != last {
			last, same = text, 0
		}
		time.Sleep(100 * time.Millisecond)
		return start != nil && f.beyond(start) == "" || start == nil && same > 10
	})
	return f
}

// beyond says what is more than it was, with some freedom in what is never quite the same.
func (f figures) beyond(start figures) (complaint string) {
	free := map[string]int{"goroutines": 3, "descriptors": 3, "MiB": 24 + start["MiB"]/4, "heap MiB": 8 + start["heap MiB"]/2, "processes": 1, "keys": 2}
	for name, n := range f {
		if n > start[name]+free[name] {
			complaint += fmt.Sprintf("%s: %d at first, %d at the end. ", name, start[name], n)
		}
	}
	return complaint
}
