package redisconn_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings/connection"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 90 s: %s", what)
		}
	}
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var up, down atomic.Int64
	p := open(t, s.URL(0), redisconn.Options{}, redisconn.PipelineOptions{OnState: func(connected bool, err error) {
		if connected != (err == nil) {
			t.Errorf("OnState(%t, %v)", connected, err)
		}
		if connected {
			up.Add(1)
		} else {
			down.Add(1)
		}
	}})
	if _, err := p.Do(t.Context(), "PING"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	eventually(t, "the loss is noticed", func() bool { return down.Load() > 0 })
	answered := make(chan error)
	go func() { // waits for the connection
		_, err := p.Do(t.Context(), "PING")
		answered <- err
	}()
	s.Restart(t)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if p.Reconnects() != 1 || up.Load() != 2 {
		t.Errorf("%d reconnects, %d times up; want 1, 2", p.Reconnects(), up.Load())
	}
}

func TestInFlightFails(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(0), redisconn.Options{}, redisconn.PipelineOptions{})
	p.Do(t.Context(), "PING")
	s.Freeze(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := p.Do(t.Context(), "PING")
			var conn *redisconn.ConnError
			if !redisconn.IsRetryable(err) || !errors.As(err, &conn) || conn.Op != "use" {
				t.Errorf("in flight: %v", err)
			}
		})
	}
	// Sent: the callers wait for replies, or at least the most of them.
	time.Sleep(50 * time.Millisecond)
	s.Stop()
	wg.Wait()
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(0), redisconn.Options{Options: connection.Options{SocketTimeout: 200 * time.Millisecond}}, redisconn.PipelineOptions{})
	p.Do(t.Context(), "PING")
	s.Freeze(t)
	_, err := p.Do(t.Context(), "PING")
	if !redisconn.IsRetryable(err) || !strings.Contains(err.Error(), "no answer for 200ms") {
		t.Errorf("Do: %v", err)
	}
	s.Thaw(t)
	if _, err := p.Do(t.Context(), "PING"); err != nil {
		t.Errorf("after the thaw: %v", err)
	}
}

// TestIdleIsPinged finds a server that falls silent while nobody asks it anything.
func TestIdleIsPinged(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	lost := make(chan error, 100)
	p := open(t, s.URL(0), redisconn.Options{Options: connection.Options{SocketTimeout: 3 * time.Second, HealthCheckInterval: 100 * time.Millisecond}},
		redisconn.PipelineOptions{OnState: func(connected bool, err error) {
			if !connected {
				lost <- err
			}
		}})
	p.Do(t.Context(), "PING")
	select {
	case err := <-lost:
		t.Fatalf("a healthy idle connection was lost: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	s.Freeze(t)
	defer s.Thaw(t)
	select {
	case <-lost:
	case <-time.After(90 * time.Second):
		t.Fatal("a silent server was not noticed")
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(0), redisconn.Options{}, redisconn.PipelineOptions{})
	p.Do(t.Context(), "PING")
	s.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	for range 3 {
		if _, err := p.Do(ctx, "ECHO", "abandoned"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Do: %v", err)
		}
	}
	s.Thaw(t)
	// The replies nobody waited for are not given to others.
	for range 10 {
		if got, err := redis.String(p.Do(t.Context(), "ECHO", "mine")); err != nil || got != "mine" {
			t.Fatalf("Do: %q, %v", got, err)
		}
	}
	s.Stop()
	eventually(t, "waiting says why", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := p.Do(ctx, "PING")
		return errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), "refused")
	})
}

func TestFailFast(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Stop()
	p := open(t, s.URL(0), redisconn.Options{}, redisconn.PipelineOptions{FailFast: true})
	_, err := p.Do(t.Context(), "PING")
	fails(t, err, false, true, "nothing listens")
}

func TestConfigErrorIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(99), redisconn.Options{}, redisconn.PipelineOptions{})
	_, err := p.Do(t.Context(), "PING")
	fails(t, err, true, false, "no database")
}

func TestFailover(t *testing.T) {
	t.Parallel()
	one, two := redistest.Start(t), redistest.Start(t)
	two.Do(t, "SET", "who", "two")
	one.Do(t, "SET", "who", "one")
	cfg := parse(t, one.URL(0)+";"+two.URL(0), redisconn.Options{})
	p := redisconn.NewPipeline(cfg, redisconn.PipelineOptions{})
	defer p.Close()
	if who, _ := redis.String(p.Do(t.Context(), "GET", "who")); who != "one" {
		t.Fatalf("first: %s", who)
	}
	one.Stop()
	eventually(t, "the second takes over", func() bool {
		who, _ := redis.String(p.Do(t.Context(), "GET", "who"))
		return who == "two"
	})
	conn, err := cfg.Dial(t.Context()) // goes where the others are
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if who, _ := redis.String(conn.Do("GET", "who")); who != "two" {
		t.Errorf("a new connection goes to %s", who)
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(master *redistest.Server, t *testing.T){
		"the master stops": func(master *redistest.Server, _ *testing.T) { master.Stop() },
		"the master hangs": func(master *redistest.Server, t *testing.T) { master.Freeze(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSentinel(t, end)
		})
	}
}

func testSentinel(t *testing.T, end func(*redistest.Server, *testing.T)) {
	t.Helper()
	master := redistest.Start(t)
	replica := redistest.Start(t, redistest.ReplicaOf(master))
	sentinel := redistest.Start(t, redistest.Sentinel("m", master))
	url := "sentinel://" + sentinel.Addr() + "/2"
	p := open(t, "sentinel://127.0.0.1:1/2;"+url, redisconn.Options{Options: connection.Options{MasterName: "m"}}, redisconn.PipelineOptions{})
	if _, err := p.Do(t.Context(), "SET", "a", "1"); err != nil {
		t.Fatal(err)
	}
	fails(t, dial(t, url, redisconn.Options{Options: connection.Options{MasterName: "unknown"}}), false, true, "")
	if err := dial(t, url, redisconn.Options{Options: connection.Options{MasterName: "m", MinOtherSentinels: 1}}); err == nil || !strings.Contains(err.Error(), "min_other_sentinels") {
		t.Errorf("min_other_sentinels: %v", err)
	}
	eventually(t, "sentinel knows the replica", func() bool {
		reply, _ := redis.Values(sentinel.Do(t, "SENTINEL", "slaves", "m"), nil)
		return len(reply) == 1
	})
	watch := replica.Dial(t, 2)
	eventually(t, "the replica has the data", func() bool {
		n, _ := redis.Int(watch.Do("EXISTS", "a"))
		return n == 1
	})
	locked := redistest.Start(t, redistest.Password("right"))
	fails(t, dial(t, "sentinel://"+locked.Addr(), redisconn.Options{Options: connection.Options{MasterName: "m", SentinelPassword: "wrong"}}), true, false, "password")
	end(master, t)
	eventually(t, "the replica is the master", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Do(ctx, "SET", "b", "2")
		return err == nil
	})
	if n, err := redis.Int(replica.Dial(t, 2).Do("EXISTS", "a", "b")); n != 2 {
		t.Errorf("the new master is not the replica: it has %d of 2 keys, %v", n, err)
	}
}

// A master hangs for so long that it is replaced, and goes on: who waits for its answer does not stay with it.
func TestReplacedMasterGoesOn(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.Start(t, redistest.ReplicaOf(master))
	sentinel := redistest.Start(t, redistest.Sentinel("m", master))
	eventually(t, "sentinel knows the replica", func() bool {
		reply, _ := redis.Values(sentinel.Do(t, "SENTINEL", "slaves", "m"), nil)
		return len(reply) == 1
	})
	url, opts := "sentinel://"+sentinel.Addr()+"/0", redisconn.Options{Options: connection.Options{MasterName: "m", SocketTimeout: time.Hour}}
	cfg := parse(t, url, opts)
	waits, err := cfg.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	end := make(chan error, 1)
	go func() { _, err := waits.Do("BLPOP", "nothing", 0); end <- err }()
	master.Freeze(t)
	eventually(t, "the replica is the master", func() bool {
		reply, err := redis.Strings(sentinel.Do(t, "SENTINEL", "get-master-addr-by-name", "m"), nil)
		return err == nil && net.JoinHostPort(reply[0], reply[1]) == replica.Addr()
	})
	master.Thaw(t)
	select {
	case err := <-end:
		if err == nil || !strings.Contains(err.Error(), "another master") {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it stays")
	}
}

func TestScriptAfterRestart(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(0), redisconn.Options{}, redisconn.PipelineOptions{})
	script := redisconn.NewScript(-1, `return #KEYS`)
	for range 2 {
		eventually(t, "the script runs", func() bool {
			n, err := redis.Int(p.Script(t.Context(), script, 2, "a", "b"))
			if err != nil && !redisconn.IsRetryable(err) {
				t.Fatal(err)
			}
			return n == 2
		})
		s.Restart(t)
	}
}

func TestClose(t *testing.T) {
	s := redistest.Start(t)
	p := redisconn.NewPipeline(parse(t, s.URL(0), redisconn.Options{}), redisconn.PipelineOptions{})
	p.Do(t.Context(), "PING")
	s.Freeze(t)
	inFlight := make(chan error)
	go func() {
		_, err := p.Do(t.Context(), "PING")
		inFlight <- err
	}()
	time.Sleep(20 * time.Millisecond)
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-inFlight; !errors.Is(err, redisconn.ErrClosed) {
		t.Errorf("in flight: %v", err)
	}
	if _, err := p.Do(t.Context(), "PING"); !errors.Is(err, redisconn.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	// While it connects.
	s.Thaw(t)
	cfg := parse(t, s.SocketURL(0), redisconn.Options{})
	for i := range 300 {
		p := redisconn.NewPipeline(cfg, redisconn.PipelineOptions{})
		time.Sleep(time.Duration(i) * time.Microsecond)
		p.Close()
	}
	// While it cannot connect, and while it has hardly begun.
	s.Stop()
	for _, pause := range []time.Duration{0, 20 * time.Millisecond} {
		p := redisconn.NewPipeline(parse(t, s.URL(0), redisconn.Options{}), redisconn.PipelineOptions{})
		time.Sleep(pause)
		p.Close()
	}
}

// A connection that dies in silence is given up within seconds, if new ones work.
func TestSilentDeath(t *testing.T) {
	t.Parallel()
	s, network := redistest.Start(t), redistest.NewFreezer(t)
	p := open(t, s.URL(0), redisconn.Options{Options: connection.Options{Dial: network.Dial}}, redisconn.PipelineOptions{})
	p.Do(t.Context(), "PING")
	listener := parse(t, s.URL(0), redisconn.Options{Options: connection.Options{Dial: network.Dial}})
	conn, err := listener.DialListener(t.Context(), func(conn redis.Conn) {
		if conn.Send("PING") == nil {
			_ = conn.Flush()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heard := make(chan error, 1)
	go func() {
		for {
			if _, err := conn.Receive(); err != nil {
				heard <- err
				return
			}
		}
	}()
	if n := network.Freeze(); n != 2 {
		t.Fatalf("%d connections froze, want 2", n)
	}
	if _, err := p.Do(t.Context(), "PING"); err == nil || !strings.Contains(err.Error(), "although the server answers others") {
		t.Errorf("Do on a dead connection: %v", err)
	}
	if _, err := p.Do(t.Context(), "PING"); err != nil {
		t.Errorf("Do after that: %v", err)
	}
	select {
	case <-heard:
	case <-time.After(25 * time.Second): // below ReadTimeout
		t.Error("the listener's death was not noticed")
	}
}

// A server that is silent and refuses new connections is not asked for one all the time.
func TestSilentAndRefusing(t *testing.T) {
	t.Parallel()
	s, network := redistest.Start(t), redistest.NewFreezer(t)
	var dials atomic.Int64
	p := open(t, s.URL(0), redisconn.Options{Options: connection.Options{Dial: func(ctx context.Context, n, addr string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			return nil, syscall.ECONNREFUSED
		}
		return network.Dial(ctx, n, addr)
	}}}, redisconn.PipelineOptions{})
	p.Do(t.Context(), "PING")
	network.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, _ = p.Do(ctx, "PING") // nothing answers
	if n := dials.Load(); n < 2 || n > 20 {
		t.Errorf("it was dialled %d times", n)
	}
}

// A server that is merely slow keeps its connections.
func TestSlowServerIsNotGivenUp(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(0), redisconn.Options{}, redisconn.PipelineOptions{})
	p.Do(t.Context(), "PING")
	s.Freeze(t)
	time.AfterFunc(4*time.Second, func() { s.Thaw(t) }) // longer than it takes to notice a silent death
	if _, err := p.Do(t.Context(), "PING"); err != nil {
		t.Errorf("a command that took 4 s: %v", err)
	}
	if n := p.Reconnects(); n != 0 {
		t.Errorf("%d reconnects", n)
	}
}
