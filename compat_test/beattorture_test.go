package compat_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/internal/rabbittest"
)

var beatTortureTime = flag.Duration("beattorture", 12*time.Second, "how long TestBeatTorture kills beats")

// TestBeatTorture: several beats send one schedule, and are killed and stopped at random, as is their Redis. Each slot
// is sent once.
func TestBeatTorture(t *testing.T) {
	t.Parallel()
	server := startRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	tortureBeats(t, server.url(0), 3*time.Second, func() int { return server.int(t, "LLEN", "celery") })
	slotsSentOnce(t, server, tortureEntries)
}

// TestBeatTortureOnRabbit: and so it is on RabbitMQ, where a run is published in one transaction with its record.
func TestBeatTortureOnRabbit(t *testing.T) {
	t.Parallel()
	vhost := rabbittest.New(t)
	tortureBeats(t, vhost.URL(), time.Second, func() int { return vhost.Queues(t)["celery"].Ready })
	p, err := amqpbroker.OpenPublisher(t.Context(), amqpbroker.PublisherConfig{URL: vhost.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	stored, err := p.Slots(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	ch := rabbittest.Channel(t, vhost.URL())
	var sent []sentRun
	for {
		d, ok, err := ch.Get("celery", true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		sent = append(sent, sentRun{d.CorrelationId, d.Headers["task"].(string)})
	}
	runsSentOnce(t, sent, tortureEntries, func(entry string) string { return stored[entry] })
}

// tortureEntries is how many entries such beats send, twice a second.
const tortureEntries = 5

// tortureBeats kills and stops beats of one schedule at random, and waits until all goes on after that. sent counts what
// was sent so far; stopped is for how long a beat is stopped at most.
func tortureBeats(t *testing.T, brokerURL string, stopped time.Duration, sent func() int) {
	t.Helper()
	const beats, entries, interval = 4, tortureEntries, 500 * time.Millisecond
	schedule := map[string]any{}
	for i := range entries {
		schedule[fmt.Sprint("e", i)] = map[string]any{"task": fmt.Sprint("t.e", i), "schedule": interval.Seconds()}
	}
	settings, err := json.Marshal(map[string]any{"broker_url": brokerURL, "beat_schedule": schedule})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "celery.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	launch := func(i int) *process {
		return start(t, fmt.Sprint("beat ", i), "", nil, apiumBinary, "beat", "--config", file, "-n", fmt.Sprintf("celerybeat@b%d", i), "-l", "info")
	}
	running := make([]*process, beats)
	for i := range running {
		running[i] = launch(i)
	}
	eventually(t, 30*time.Second, "the first runs", func() bool { return sent() >= entries })
	kills, stops := 0, 0
	for end := time.Now().Add(*beatTortureTime); time.Now().Before(end); time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond) {
		i := rand.IntN(beats)
		if rand.IntN(2) == 0 {
			kills++
			running[i].kill()
			running[i] = launch(i)
			continue
		}
		stops++
		running[i].signal(t, syscall.SIGSTOP)
		p := running[i]
		time.AfterFunc(time.Duration(rand.Int64N(int64(stopped))), func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) })
	}
	before := sent()
	eventually(t, 30*time.Second, "a run after all that", func() bool { return sent() >= before+2*entries })
	for _, p := range running {
		p.kill()
	}
	t.Logf("%d kills, %d stops", kills, stops)
}

// sentRun is a message of a beat.
type sentRun struct{ id, task string }

// slotsSentOnce compares the messages of each entry with how many runs are stored of it.
func slotsSentOnce(t *testing.T, server *redisServer, entries int) {
	t.Helper()
	var sent []sentRun
	for _, raw := range server.strings(t, "LRANGE", "celery", 0, -1) {
		var m struct {
			Headers struct{ ID, Task string }
		}
		if err := json.Unmarshal([]byte(raw), &m); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, sentRun{m.Headers.ID, m.Headers.Task})
	}
	runsSentOnce(t, sent, entries, func(entry string) string {
		return string(server.do(t, "HGET", "apium.beat.default", entry).([]byte))
	})
}

// runsSentOnce compares messages with what is stored of their entries.
func runsSentOnce(t *testing.T, runs []sentRun, entries int, storedOf func(entry string) string) {
	t.Helper()
	sent, ids := map[string]int{}, map[string]bool{}
	for _, run := range runs {
		if ids[run.id] {
			t.Errorf("the slot of %s was sent twice", run.id)
		}
		ids[run.id] = true
		sent[run.task]++
	}
	if len(sent) != entries {
		t.Errorf("%d entries were sent, want %d", len(sent), entries)
	}
	for task, n := range sent {
		var stored struct {
			Count int
			Slot  time.Time
		}
		if err := json.Unmarshal([]byte(storedOf(task[len("t."):])), &stored); err != nil {
			t.Fatal(err)
		}
		if stored.Count != n {
			t.Errorf("%s: %d messages, %d runs are stored", task, n, stored.Count)
		}
	}
}

// TestBeatOutage: Redis is killed and comes back with what it had. Nothing is sent twice, and all goes on.
func TestBeatOutage(t *testing.T) {
	t.Parallel()
	server := startRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	file := filepath.Join(t.TempDir(), "celery.json")
	settings := `{"broker_url": "` + server.url(0) + `", "beat_schedule": {"e": {"task": "t.e", "schedule": 0.3}}}`
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, "beat", "", nil, apiumBinary, "beat", "--config", file, "-l", "info")
	eventually(t, 30*time.Second, "some runs", func() bool { return server.int(t, "LLEN", "celery") >= 3 })
	server.kill()
	b.waitLog(t, "beat: Connection error")
	server.start(t)
	before := server.int(t, "LLEN", "celery")
	eventually(t, 30*time.Second, "runs after the outage", func() bool { return server.int(t, "LLEN", "celery") >= before+3 })
	endBeat(t, b)
	slotsSentOnce(t, server, 1)
}
