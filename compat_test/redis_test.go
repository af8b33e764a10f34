package compat_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"

	apium "github.com/apium/apium/app"
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/settings"
)

// redisServer is a private Redis on a port of its own.
type redisServer struct {
	*process
	vhost *rabbittest.VHost // where messages are instead; nil: they are in Redis
	port  int
	dir   string
	args  []string
}

// redisProgram finds Redis or Valkey.
func redisProgram() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("compat_test: no redis-server and no valkey-server on the PATH: " +
		"apt-get install redis-server, or run scripts/test, which gets one")
}

// startRedis starts a server that keeps nothing on disk, unless the arguments say otherwise.
func startRedis(t *testing.T, args ...string) *redisServer {
	t.Helper()
	s := &redisServer{port: freePort(t), dir: t.TempDir(), args: args}
	s.start(t)
	return s
}

// start starts the server, or starts it again: same port, same data.
func (s *redisServer) start(t *testing.T) {
	t.Helper()
	program, err := redisProgram()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no"}
	args = append(args, s.args...)
	s.process = start(t, "redis-server", s.dir, nil, program, args...)
	s.waitLog(t, "eady to accept connections")
}

// startAgain starts a server that was killed. What it was writing then is cut off first, as its manual advises: Redis 7.0 cuts off the
// command that is not complete, but not the transaction that it is in, whose first half is done after the next restart, together with
// the transaction that follows.
func (s *redisServer) startAgain(t *testing.T) {
	t.Helper()
	if manifest := filepath.Join(s.dir, "appendonlydir", "appendonly.aof.manifest"); exists(manifest) {
		program, err := redisProgram()
		if err != nil {
			t.Fatal(err)
		}
		check := exec.CommandContext(t.Context(), program)
		check.Args = []string{"redis-check-aof", "--fix", manifest} // the server is that, too, under this name
		check.Stdin = strings.NewReader("y\ny\n")
		if out, err := check.CombinedOutput(); err != nil {
			t.Fatalf("redis-check-aof: %v\n%s", err, tail(string(out), 2000))
		}
	}
	s.start(t)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (s *redisServer) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

func (s *redisServer) url(db int) string { return fmt.Sprintf("redis://%s/%d", s.addr(), db) }

// connect has a Go program connected to the same databases, until the test ends.
func (s *redisServer) connect(t *testing.T) *apium.App {
	t.Helper()
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = s.url(0), s.url(0)
	shop, err := apium.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shop.Close() })
	return shop
}

// app is an app whose messages are in database 0, or in RabbitMQ, its results in database 0, and
// its tasks' traces in database 1.
func (s *redisServer) app() app {
	a := app{broker: s.url(0), backend: s.url(0), journal: s.url(1)}
	if s.vhost != nil {
		a.broker = s.vhost.URL()
	}
	return a
}

// do runs one command on a connection of its own, so that it works across restarts.
func (s *redisServer) do(t *testing.T, command string, args ...any) any {
	t.Helper()
	reply, err := s.try(command, args...)
	if err != nil {
		t.Fatalf("%s %v: %v", command, args, err)
	}
	return reply
}

func (s *redisServer) try(command string, args ...any) (any, error) {
	conn, err := redis.Dial("tcp", s.addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Do(command, args...)
}

// doAs is do for a user, given as in a URL: name and password.
func (s *redisServer) doAs(t *testing.T, user, command string, args ...any) {
	t.Helper()
	conn, err := redis.DialURL("redis://" + user + "@" + s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Do(command, args...); err != nil {
		t.Fatalf("%s %v: %v", command, args, err)
	}
}

func (s *redisServer) int(t *testing.T, command string, args ...any) int {
	t.Helper()
	n, err := redis.Int(s.do(t, command, args...), nil)
	if err != nil {
		t.Fatalf("%s %v: %v", command, args, err)
	}
	return n
}

func (s *redisServer) strings(t *testing.T, command string, args ...any) []string {
	t.Helper()
	list, err := redis.Strings(s.do(t, command, args...), nil)
	if err != nil {
		t.Fatalf("%s %v: %v", command, args, err)
	}
	return list
}

// idle reports whether a queue is empty and nobody holds a message.
func (s *redisServer) idle(t *testing.T, queues ...string) bool {
	t.Helper()
	return s.messages(t, queues...) == 0 && s.int(t, "ZCARD", "unacked_index") == 0
}

// messages returns how many messages wait in queues, are on their way out of them, or are
// held by somebody, all at one moment.
func (s *redisServer) messages(t *testing.T, queues ...string) int {
	t.Helper()
	if s.vhost != nil {
		return rabbitMessages(t, s.vhost, queues...)
	}
	args := []any{`
local n = redis.call('HLEN', 'unacked')
for _, inbox in ipairs(redis.call('KEYS', 'apium.inbox.*')) do n = n + redis.call('LLEN', inbox) end
for _, queue in ipairs(KEYS) do
  for _, step in ipairs({'', '\6\0223', '\6\0226', '\6\0229'}) do n = n + redis.call('LLEN', queue .. step) end
end
return n`, len(queues)}
	for _, queue := range queues {
		args = append(args, queue)
	}
	return s.int(t, "EVAL", args...)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// The tasks leave their traces, the journal, in database 1.
func (s *redisServer) tryJournal(command string, args ...any) (any, error) {
	conn, err := redis.Dial("tcp", s.addr(), redis.DialDatabase(1))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Do(command, args...)
}

func (s *redisServer) journalLen(t *testing.T, list string) int {
	t.Helper()
	n, err := redis.Int(s.tryJournal("LLEN", list))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *redisServer) journalKeys(t *testing.T, list string) []string {
	t.Helper()
	keys, err := redis.Strings(s.tryJournal("LRANGE", list, 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
