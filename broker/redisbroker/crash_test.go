package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"go.uber.org/goleak"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/brokertest"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings/connection"
)

// childURL, in the environment, makes the test binary a worker on that Redis; childMode
// says what it does.
const (
	childURL  = "APIUM_TEST_CHILD"
	childMode = "APIUM_TEST_CHILD_MODE"
)

const (
	modeRun        = "run"          // acks what it has noted as done
	modePark       = "park"         // parks for an hour whatever it claims
	modeParkAndRun = "park and run" // parks it, claims it again, and runs that
	modeChange     = "change"       // runs, and adds and cancels queues all the time
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		if err := child(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// child claims for ever.
func child(url string) error {
	ctx := context.Background()
	cfg, err := redisconn.Parse(url, redisconn.Broker, redisconn.Options{})
	if err != nil {
		return err
	}
	conn, err := cfg.Dial(ctx) // before it registers: it may be frozen from then on
	if err != nil {
		return err
	}
	c, err := redisbroker.Open(ctx, redisbroker.Config{URL: url, Queues: broker.Named("q")})
	if err != nil {
		return err
	}
	if os.Getenv(childMode) == modeChange {
		go changeQueues(ctx, c)
	}
	for {
		claim, cancel := ctx, context.CancelFunc(func() {})
		if os.Getenv(childMode) == modeParkAndRun {
			claim, cancel = context.WithTimeout(ctx, 20*time.Millisecond) // what is parked waits too
		}
		ds, err := c.Claim(claim, 8)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if mode := os.Getenv(childMode); mode == modePark || mode == modeParkAndRun {
			parked := make([]broker.Parked, len(ds))
			for i, d := range ds {
				parked[i] = broker.Parked{Delivery: d, Due: time.Now().Add(time.Hour)}
			}
			if _, err := c.Park(ctx, parked...); err != nil {
				return err
			}
			if mode == modePark {
				continue
			}
			if ds, err = c.Due(ctx, time.Now().Add(2*time.Hour), 4); err != nil {
				return err
			}
		}
		for _, d := range ds {
			msg := envelopetest.Open(d.Raw)
			if msg.Err != nil {
				return msg.Err
			}
			if _, err := conn.Do("SADD", "done", msg.CorrelationID); err != nil {
				return err
			}
			if _, err := c.Ack(ctx, d.Tag); err != nil {
				return err
			}
		}
	}
}

func changeQueues(ctx context.Context, c *redisbroker.Consumer) {
	for {
		for _, queue := range []string{"x", "y", "z"} {
			if c.AddQueue(ctx, broker.Queue{Name: queue}) != nil || c.CancelQueue(ctx, queue) != nil {
				return
			}
		}
	}
}

func (s *server) startChild(t *testing.T, mode string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+s.URL(0), childMode+"="+mode)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// Workers killed under load lose nothing, and a peer hands back what they held
// within seconds.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	sent := 0
	for range 12 {
		worker := s.startChild(t, modeRun)
		before := s.int(t, "SCARD", "done")
		for range 60 {
			for range 5 {
				if err := p.Publish(t.Context(), broker.Publication{RoutingKey: "q", Message: brokertest.Message(fmt.Sprint(sent), sent%10)}); err != nil {
					t.Fatal(err)
				}
				sent++
			}
		}
		eventually(t, "the worker works", func() bool { return s.int(t, "SCARD", "done") > before })
		_ = worker.Process.Kill()
		_ = worker.Wait()
	}
	killed := time.Now()
	s.startChild(t, modeRun)
	eventually(t, "all messages are done", func() bool { return s.int(t, "SCARD", "done") == sent })
	eventually(t, "nothing is held", func() bool { return s.int(t, "HLEN", "unacked") == 0 })
	t.Logf("all %d done %v after the last kill", sent, time.Since(killed))
	if inboxes := s.strings(t, "KEYS", "apium.inbox.*"); len(inboxes) > 0 {
		t.Errorf("inboxes left: %q", inboxes)
	}
}

// A worker that was frozen learns that its lease is lost, and works on.
func TestFrozenWorker(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := s.publisher(t)
	frozen := s.startChild(t, modeRun)
	eventually(t, "the worker is up", func() bool { return s.int(t, "HLEN", "apium.workers") == 1 })
	if err := frozen.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	id := s.strings(t, "HKEYS", "apium.workers")[0]
	raw := envelopetest.New("q", "1", 0)
	s.Do(t, "HSET", "unacked", id+":1", fmt.Sprintf(`[%s,"","q"]`, raw)) // as if it had just claimed
	s.Do(t, "ZADD", "unacked_index", time.Now().Unix(), id+":1")
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	ds, err := c.Claim(t.Context(), 1)
	if err != nil || len(ds) != 1 {
		t.Fatal(ds, err)
	}
	eventually(t, "the registration is withdrawn", func() bool { return s.int(t, "HEXISTS", "apium.workers", id) == 0 })
	if err := frozen.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker registers again", func() bool { return s.int(t, "HEXISTS", "apium.workers", id) == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), broker.Publication{RoutingKey: "q", Message: brokertest.Message("2", 0)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker works on", func() bool { return s.int(t, "SISMEMBER", "done", "2") == 1 })
}

// cutter breaks every connection when it next sees the answer to a claim.
type cutter struct {
	net.Conn
	armed *atomic.Bool
}

func (c cutter) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && strings.Contains(string(b[:n]), "correlation_id") && c.armed.CompareAndSwap(true, false) {
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// cuttable returns a consumer of "q" whose connection breaks at the next answer to a claim
// once it is armed.
func (s *server) cuttable(t *testing.T) (c *redisbroker.Consumer, armed *atomic.Bool) {
	t.Helper()
	armed = new(atomic.Bool)
	network := connection.Options{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return cutter{conn, armed}, err
		},
	}
	c, err := redisbroker.Open(t.Context(), redisbroker.Config{URL: s.URL(0), Connection: network, Queues: broker.Named("q")})
	if err != nil {
		t.Fatal(err)
	}
	return c, armed
}

// The answer to a claim is lost with the connection: the messages are not.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c, armed := s.cuttable(t)
	p := s.publisher(t)
	for i := range 3 {
		for n := range 4 {
			if err := p.Publish(t.Context(), broker.Publication{RoutingKey: "q", Message: brokertest.Message(fmt.Sprint(i, n), 0)}); err != nil {
				t.Fatal(err)
			}
		}
		armed.Store(true)
		ds, err := c.Claim(t.Context(), 3)
		if err != nil || len(ds) != 3 || armed.Load() {
			t.Fatalf("Claim: %d deliveries, %v; cut: %v", len(ds), err, !armed.Load())
		}
		if got := ids(t, ds)[0]; got != fmt.Sprint(i, 0) {
			t.Errorf("first message is %s", got)
		}
		rest, err := c.Claim(t.Context(), 3)
		if err != nil || len(rest) != 1 {
			t.Fatalf("Claim: %d deliveries, %v", len(rest), err)
		}
		for _, d := range append(ds, rest...) {
			if lost, err := c.Ack(t.Context(), d.Tag); len(lost) > 0 || err != nil {
				t.Errorf("Ack: lost %v, %v", lost, err)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Redis goes away and comes back with its data: what was held is still held.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	c := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	s.Do(t, "LPUSH", "q", envelopetest.New("q", "1", 0))
	ds, err := c.Claim(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Save(t)
	claimed := make(chan []broker.Delivery)
	go func() {
		ds, err := c.Claim(t.Context(), 1)
		if err != nil {
			t.Errorf("Claim through the outage: %v", err)
		}
		claimed <- ds
	}()
	s.Stop()
	s.Restart(t)
	s.Do(t, "LPUSH", "q", envelopetest.New("q", "2", 0))
	if got := ids(t, <-claimed); len(got) != 1 || got[0] != "2" {
		t.Errorf("claimed %v after the outage", got)
	}
	if lost, err := c.Ack(t.Context(), ds[0].Tag); len(lost) > 0 || err != nil {
		t.Errorf("Ack after the outage: lost %v, %v", lost, err)
	}
	if c.Reconnects() == 0 {
		t.Error("no reconnect was counted")
	}
}

// What reaches a waiter after Claim has stopped goes to others at once.
func TestStrayMessage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	idle := s.open(t, redisbroker.Config{Queues: broker.Named("q")})
	for i := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = idle.Claim(ctx, 1) // ends with the context's error
		}()
		eventually(t, "the waiters block", func() bool {
			return strings.Count(fmt.Sprintf("%s", s.Do(t, "CLIENT", "LIST")), "cmd=brpoplpush") == 1
		})
		cancel()
		<-done
		s.Do(t, "LPUSH", "q", envelopetest.New("q", fmt.Sprint(i), 0))
		start := time.Now()
		eventually(t, "the message is back", func() bool { return s.int(t, "LLEN", "q") == 1 })
		if took := time.Since(start); took > 4*time.Second { // a peer would find it later
			t.Errorf("given back after %v", took)
		}
		s.Do(t, "DEL", "q")
	}
}

func ids(t *testing.T, ds []broker.Delivery) []string {
	t.Helper()
	var all []string
	for _, d := range ds {
		msg := envelopetest.Open(d.Raw)
		if msg.Err != nil {
			t.Fatal(msg.Err)
		}
		all = append(all, string(msg.CorrelationID))
	}
	return all
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	if _, err := redisbroker.Open(t.Context(), redisbroker.Config{Queues: broker.Named("a", "a", ""), PrioritySteps: []int{3}, QueueOrderStrategy: "x"}); err == nil {
		t.Error("a wrong configuration was accepted")
	} else if n := strings.Count(err.Error(), "\n"); n != 4 {
		t.Errorf("%d problems reported, want 5: %v", n+1, err)
	}
	s := newServer(t)
	conn := s.Dial(t, 0)
	if _, err := redis.String(conn.Do("CONFIG", "SET", "requirepass", "secret")); err != nil {
		t.Fatal(err)
	}
	_, err := redisbroker.Open(t.Context(), redisbroker.Config{URL: s.URL(0), Queues: broker.Named("q")})
	if err == nil || !redisconn.IsConfig(err) {
		t.Errorf("without the password: %v", err)
	}
}

// In a fleet that is too large to be looked at as a whole, the dead are found as soon, and looking costs little.
func TestDeadAmongMany(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const size = 300
	for i := range size {
		s.Do(t, "HSET", "apium.workers", fmt.Sprintf("w%d", i), `{"hostname": "w@h", "pid": 1, "queues": ["q"]}`)
		s.Do(t, "SET", fmt.Sprintf("apium.alive.w%d", i), 1)
	}
	for range 10 {
		s.open(t, redisbroker.Config{Queues: broker.Named("q"), AliveFor: 3 * time.Second})
	}
	looks := func(command string) (n int) {
		for line := range lines(s.text(t, "INFO", "commandstats")) {
			_, _ = fmt.Sscanf(line, "cmdstat_"+command+":calls=%d", &n)
		}
		return n
	}
	eventually(t, "all have looked", func() bool { return looks("hrandfield") > 20 })
	s.Do(t, "CONFIG", "RESETSTAT")
	eventually(t, "they look again", func() bool { return looks("hrandfield") > 20 })
	if some, whole := looks("hrandfield"), looks("hkeys"); whole > some/2 { // a worker may be too slow to show a sign of life
		t.Errorf("of %d looks %d were at all others, though nobody was missing", some, whole)
	}
	for i := range size / 2 {
		s.Do(t, "DEL", fmt.Sprintf("apium.alive.w%d", i))
	}
	eventually(t, "the dead are buried", func() bool { return s.int(t, "HLEN", "apium.workers") == size/2+10 })
}
