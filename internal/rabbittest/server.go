package rabbittest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/internal/guarded"
)

// patience is how long a server may take until it answers.
const patience = 2 * time.Minute

// Server is one running RabbitMQ.
type Server struct {
	program string // its path
	dir     string
	port    int
	config  []string // further lines of rabbitmq.conf
	managed bool     // it has the management plugin
	manager int      // where that listens

	process *guarded.Process // nil while the server is stopped
}

// program finds the server. Debian's /usr/sbin/rabbitmq-server would switch users and
// directories; what it calls is looked for first.
func program() (string, error) {
	if path := os.Getenv("APIUM_RABBITMQ_SERVER"); path != "" {
		return exec.LookPath(path)
	}
	for _, path := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("rabbitmq-server")
	if err != nil {
		return "", errors.New("rabbittest: there is no rabbitmq-server in /usr/lib/rabbitmq/bin nor on the PATH: " +
			"apt-get install --no-install-recommends rabbitmq-server, or run scripts/test --only tools, or set APIUM_RABBITMQ_SERVER to its path")
	}
	return path, nil
}

func newServer(opts []Option) (*Server, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rabbittest") // short: a socket's path has 107 characters at most
	if err != nil {
		return nil, err
	}
	s := &Server{program: path, dir: dir}
	for _, opt := range opts {
		opt(s)
	}
	for range 5 {
		if s.port, err = guarded.FreePort(); err != nil {
			break
		}
		if s.manager, err = guarded.FreePort(); err != nil {
			break
		}
		if err = s.start(); err == nil || !strings.Contains(err.Error(), "eaddrinuse") {
			break
		}
	}
	if err != nil {
		_ = os.RemoveAll(dir) // the error before it says more
		return nil, fmt.Errorf("rabbittest: %w", err)
	}
	return s, nil
}

// configure writes the server's files.
func (s *Server) configure() error {
	conf := append([]string{
		fmt.Sprintf("listeners.tcp.default = 127.0.0.1:%d", s.port),
		"disk_free_limit.absolute = 10MB",
		"vm_memory_high_watermark.absolute = 2GB",
		"log.console = true",
		"log.console.level = warning",
	}, s.config...)
	plugins := ""
	if s.managed {
		plugins = "rabbitmq_management"
		conf = append(conf, fmt.Sprintf("management.tcp.port = %d", s.manager), "management.tcp.ip = 127.0.0.1", "collect_statistics_interval = 200")
	}
	for name, text := range map[string]string{
		"rabbitmq.conf":   strings.Join(conf, "\n") + "\n",
		"enabled_plugins": "[" + plugins + "].\n",
		// HTTP, TLS or files of somebody's home are not to change what tests see.
		"rabbitmq-env.conf": "",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// command is the server's command line. A node that does not listen for others needs no epmd.
func (s *Server) command() *exec.Cmd {
	const node = "apium@localhost"
	cmd := exec.Command(s.program,
		"-noinput", "-sname", node, "-dist_listen", "false", "-start_epmd", "false", "-erl_epmd_port", "1", "-setcookie", "apium", "-eval", s.evaluator())
	cmd.Dir = s.dir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "RABBITMQ_") && !strings.HasPrefix(variable, "ERL_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	path := func(name string) string { return filepath.Join(s.dir, name) }
	cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8", "HOME="+s.dir,
		"RABBITMQ_ALLOW_INPUT=true", // the script becomes the server instead of waiting for it
		"RABBITMQ_NODENAME="+node, "RABBITMQ_MNESIA_BASE="+path("mnesia"), "RABBITMQ_LOG_BASE="+path("logs"), "RABBITMQ_LOGS=-",
		"RABBITMQ_PID_FILE="+path("rabbitmq.pid"), "RABBITMQ_CONFIG_FILE="+path("rabbitmq"), "RABBITMQ_CONF_ENV_FILE="+path("rabbitmq-env.conf"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+path("config"), "RABBITMQ_ENABLED_PLUGINS_FILE="+path("enabled_plugins"),
		// A message that was on its way from one quorum queue to the next when the server was killed waits for a confirmation that
		// does not come, by default for three minutes.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 +sbwt none -rabbit dead_letter_worker_publisher_confirm_timeout 10000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (s *Server) start() (err error) {
	if err := os.Remove(filepath.Join(s.dir, socketName)); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := s.configure(); err != nil {
		return err
	}
	if s.process, err = guarded.Start(s.command(), "KILL"); err != nil {
		return err
	}
	if err = s.process.Await(patience, 20*time.Millisecond, s.answers, syscall.SIGKILL); err != nil {
		s.process = nil
		return fmt.Errorf("rabbitmq-server %w", err)
	}
	return nil
}

func (s *Server) running() bool { return s.process != nil }

// Addr is the server's host and port, which stay the same.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the server's port.
func (s *Server) Port() int { return s.port }

// ManagerPort is where the server answers HTTP if it is [Managed].
func (s *Server) ManagerPort() int { return s.manager }

// Kill ends the server as SIGKILL does: connections break, and nobody listens. What was
// durable and persistent is there after [Server.Restart]. RabbitMQ writes down the name of a quorum
// queue half a second after it is declared, and other queues may wait in a buffer of its log; it would not find them again.
// So both is done before.
func (s *Server) Kill() {
	if s.running() {
		_, _ = s.evaluate("mnesia:sync_log(), [dets:sync(T) || T <- dets:all()]") // a server that has ended is as good as killed
	}
	s.end(syscall.SIGKILL)
}

// Shutdown ends the server in order: it closes its connections and says why (320).
func (s *Server) Shutdown() { s.end(syscall.SIGTERM) }

func (s *Server) end(signal syscall.Signal) {
	if s.running() {
		s.process.End(signal)
		s.process = nil
	}
}

// Restart starts the server on the same port with the same data, after killing it if it runs.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		tb.Fatalf("rabbittest: restart: %v", err)
	}
}

// close ends the server for good.
func (s *Server) close() {
	s.end(syscall.SIGKILL)
	_ = os.RemoveAll(s.dir) // what is left is in a temporary directory
}
