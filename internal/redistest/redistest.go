// Package redistest runs private Redis servers for tests: one per test, on a free
// TCP port and a Unix socket, gone when the test ends.
//
// The binary is redis-server or valkey-server from PATH, or what the environment
// variable APIUM_REDIS_SERVER names.
package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
)

// startTimeout is how long a server may take until it answers.
const startTimeout = 20 * time.Second

// Server is one running server.
type Server struct {
	tb       testing.TB
	binary   string
	dir      string
	port     int
	password string
	args     []string
	sentinel string // its configuration, if the server is a Sentinel
	cluster  bool

	mu   sync.Mutex
	proc *process // nil while stopped
}

// process is one life of the server.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer // read after done only
	done chan struct{}
}

// Start starts a server that keeps nothing on disk and stops it when the test ends.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redistest") // short: a socket's path has 107 characters at most
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{tb: tb, binary: binary(tb), dir: dir}
	for _, opt := range opts {
		opt(s)
	}
	tb.Cleanup(s.Stop)
	for attempt := 0; ; attempt++ {
		s.port = freePort(tb)
		err := s.start()
		if err == nil {
			s.takeSlots(tb)
			return s
		}
		if s.leaveOut(unknownCommand.FindStringSubmatch(err.Error())) {
			attempt--
			continue
		}
		if attempt == 4 || !strings.Contains(err.Error(), "in use") {
			tb.Fatalf("redistest: %v", err)
		}
	}
}

// unknownCommand finds the command that an older server cannot rename: it has none
// of that name.
var unknownCommand = regexp.MustCompile(`(?s)rename-command "(\w+)".*No such command in rename-command`)

// leaveOut takes the removal of a command out of the arguments.
func (s *Server) leaveOut(match []string) bool {
	if match == nil {
		return false
	}
	i := slices.Index(s.args, match[1])
	if i < 1 {
		return false
	}
	s.args = slices.Delete(s.args, i-1, i+2)
	return true
}

func binary(tb testing.TB) string {
	tb.Helper()
	names := []string{"redis-server", "valkey-server"}
	if name := os.Getenv("APIUM_REDIS_SERVER"); name != "" {
		names = []string{name}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatalf("redistest: this test needs a Redis server and found no %s: "+
		"install one (apt-get install redis-server, brew install redis) "+
		"or set APIUM_REDIS_SERVER to its path", strings.Join(names, " or "))
	return ""
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts the process and waits until it answers.
func (s *Server) start() error {
	p := &process{done: make(chan struct{})}
	args, err := s.commandLine()
	if err != nil {
		return err
	}
	p.cmd = exec.Command(s.binary, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	go func() {
		// The kernel kills the server when the thread that started it ends, so
		// that thread stays here for as long as the server runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // a killed server is no error
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	deadline := time.Now().Add(startTimeout)
	for !s.answers() {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once: %s", s.binary, &p.out)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			_ = p.cmd.Process.Kill()
			<-p.done
			return fmt.Errorf("%s did not answer within %v: %s", s.binary, startTimeout, &p.out)
		}
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	return nil
}

func (s *Server) commandLine() ([]string, error) {
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--unixsocket", s.Socket(), "--dir", s.dir}
	if s.sentinel != "" {
		file := filepath.Join(s.dir, "sentinel.conf") // which it writes to
		if err := os.WriteFile(file, []byte(s.sentinel), 0o600); err != nil {
			return nil, err
		}
		return append([]string{file, "--sentinel"}, append(args, s.args...)...), nil
	}
	args = append(args, "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
	return append(args, s.args...), nil
}

// answers tells whether the server has finished loading.
func (s *Server) answers() bool {
	conn, err := redis.Dial("unix", s.Socket(), redis.DialReadTimeout(time.Second))
	if err != nil {
		return false
	}
	defer conn.Close()
	_, err = conn.Do("PING")
	var refused redis.Error
	if errors.As(err, &refused) {
		return !strings.HasPrefix(string(refused), "LOADING")
	}
	return err == nil
}

// Addr returns host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Socket returns the path of the Unix socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "s") }

// URL returns the redis:// URL of a database.
func (s *Server) URL(db int) string {
	return fmt.Sprintf("redis://%s%s/%d", s.userinfo(), s.Addr(), db)
}

// SocketURL returns the redis+socket:// URL of a database.
func (s *Server) SocketURL(db int) string {
	return fmt.Sprintf("redis+socket://%s%s?virtual_host=%d", s.userinfo(), s.Socket(), db)
}

func (s *Server) userinfo() string {
	if s.password == "" {
		return ""
	}
	return ":" + s.password + "@"
}

// Dial returns a new connection to a database, closed when the test ends.
func (s *Server) Dial(tb testing.TB, db int) redis.Conn {
	tb.Helper()
	conn, err := redis.Dial("unix", s.Socket(), redis.DialPassword(s.password), redis.DialDatabase(db))
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// Do runs one command on database 0 and fails the test if it fails.
func (s *Server) Do(tb testing.TB, cmd string, args ...any) any {
	tb.Helper()
	conn, err := redis.Dial("unix", s.Socket(), redis.DialPassword(s.password))
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	defer conn.Close()
	reply, err := conn.Do(cmd, args...)
	if err != nil {
		tb.Fatalf("redistest: %s: %v", cmd, err)
	}
	return reply
}
