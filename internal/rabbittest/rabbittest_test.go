package rabbittest_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbittest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	os.Exit(code)
}

// TestVirtualHostsAreEmptyAndOnesOwn also sees what tests can look at.
func TestVirtualHostsAreEmptyAndOnesOwn(t *testing.T) {
	t.Parallel()
	for range 2 {
		v := rabbittest.New(t)
		if queues := v.Queues(t); len(queues) != 0 {
			t.Fatalf("queues in a new virtual host: %v", queues)
		}
		ch := rabbittest.Channel(t, v.URL())
		fill(t, ch, "classic", 1)
		fill(t, ch, "quorum", 2)
		if _, err := ch.Consume("quorum", "", false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		for v.Queues(t)["quorum"].Ready != 0 && t.Context().Err() == nil {
			runtime.Gosched()
		}
		queues := v.Queues(t)
		if q := queues["classic"]; q.Type != "classic" || q.Ready != 1 || q.Consumers != 0 || !q.Durable || q.Exclusive {
			t.Errorf("classic: %+v", q)
		}
		if q := queues["quorum"]; q.Type != "quorum" || q.Unacked != 2 || q.Consumers != 1 || q.Arguments["x-queue-type"] != "quorum" {
			t.Errorf("quorum: %+v", q)
		}
		if err := ch.QueueBind("classic", "a.#", "amq.topic", false, nil); err != nil {
			t.Fatal(err)
		}
		want := rabbittest.Binding{Source: "amq.topic", Destination: "classic", Kind: "queue", Key: "a.#"}
		if b := v.Bindings(t); len(b) != 1 || b[0] != want {
			t.Errorf("bindings: %+v, want %+v", b, want)
		}
		v.DeleteQueue(t, "classic")
		if _, ok := v.Queues(t)["classic"]; ok {
			t.Error("a deleted queue is there")
		}
		if c := v.Connections(t); len(c) != 1 || c[0].User != "guest" || c[0].Channels != 1 || c[0].State != "running" {
			t.Errorf("connections: %+v", c)
		}
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		if n := v.CloseConnections(t); n != 1 {
			t.Errorf("closed %d connections, want 1", n)
		}
		if err := <-closed; err == nil || err.Code != amqp.ConnectionForced {
			t.Errorf("the client heard %v", err)
		}
	}
}

func TestUserMayDoWhatPatternsMatch(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t)
	ch := rabbittest.Channel(t, v.User(t, "poor", "^$", ".*", ".*"))
	var refused *amqp.Error
	if _, err := ch.QueueDeclare("a", true, false, false, false, nil); !errors.As(err, &refused) || refused.Code != amqp.AccessRefused {
		t.Errorf("declaring without the right to: %v", err)
	}
}

func TestConsumerTimeout(t *testing.T) {
	t.Parallel()
	s := rabbittest.Start(t)
	s.ConsumerTimeout(t, time.Second)
	ch := rabbittest.Channel(t, s.VHost(t).URL())
	fill(t, ch, "classic", 1)
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if _, err := ch.Consume("classic", "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err == nil || err.Code != amqp.PreconditionFailed || !strings.Contains(err.Reason, "timed out") {
		t.Errorf("the client heard %v", err)
	}
}

func TestPersistentMessagesSurviveKill(t *testing.T) {
	t.Parallel()
	s := rabbittest.Start(t)
	v := s.VHost(t)
	ch := rabbittest.Channel(t, v.URL())
	fill(t, ch, "quorum", 1)
	fill(t, ch, "classic", 1)
	pid, addr := s.Eval(t, "os:getpid()"), s.Addr()
	s.Kill()
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Fatal("a killed server accepts connections")
	}
	s.Restart(t)
	if s.Addr() != addr || s.Eval(t, "os:getpid()") == pid {
		t.Fatal("the server is not another process at the same port")
	}
	bothAreThere(t, s, v)
	s.Shutdown()
	s.Restart(t)
	bothAreThere(t, s, v)
}

// bothAreThere waits for the queues with their messages: a quorum queue comes back a moment after its server.
func bothAreThere(t *testing.T, s *rabbittest.Server, v *rabbittest.VHost) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		queues := v.Queues(t)
		if queues["classic"].Ready == 1 && queues["quorum"].Ready == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want one message in each of both queues; the server knows %s", queues,
				s.Eval(t, `iolist_to_binary(io_lib:format("~0p", [rabbit_amqqueue:list()]))`))
		}
	}
}

// TestNothingOfAServerIsLeft looks for processes that have its directory on their command line.
func TestNothingOfAServerIsLeft(t *testing.T) {
	t.Parallel()
	var home string
	t.Run("life", func(t *testing.T) {
		s := rabbittest.Start(t)
		home = s.Eval(t, `unicode:characters_to_binary(os:getenv("HOME"))`)
		if !strings.Contains(processes(t), home) {
			t.Fatalf("no process has %s on its command line", home)
		}
	})
	if strings.Contains(processes(t), home) {
		t.Errorf("processes are left:\n%s", processes(t))
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("its directory is left: %v", err)
	}
}

func TestAlarmAndErrors(t *testing.T) {
	t.Parallel()
	s := rabbittest.New(t).Server()
	s.Alarm(t)
	if got := s.Eval(t, "rabbit_alarm:get_alarms()"); !strings.Contains(got, "memory") {
		t.Errorf("alarms: %s", got)
	}
	s.Calm(t)
	if got := s.Eval(t, "rabbit_alarm:get_alarms()"); got != "[]" {
		t.Errorf("alarms after Calm: %s", got)
	}
	if got := s.Eval(t, `{<<"ü"/utf8>>, "a"}`); got != `{<<"ü"/utf8>>,"a"}` {
		t.Errorf("evaluated to %s", got)
	}
}

func processes(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ps", "-axww", "-o", "pid,args").CombinedOutput()
	if err != nil {
		t.Fatalf("ps: %v: %s", err, out)
	}
	return string(out)
}

// fill makes a durable queue whose name is its type, and puts persistent messages into it.
func fill(t *testing.T, ch *amqp.Channel, name string, n int) {
	t.Helper()
	if _, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": name}); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for range n {
		confirmed, err := ch.PublishWithDeferredConfirm("", name, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("body")})
		if err != nil || !confirmed.Wait() {
			t.Fatalf("not confirmed: %v", err)
		}
	}
}
