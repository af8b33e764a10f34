package sqltest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apium/apium/internal/guarded"
)

// patience is how long a server may take until it accepts connections.
const patience = time.Minute

// Server is one running database server.
type Server struct {
	dialect string
	kind    kind
	program string // its path
	dir     string
	port    int

	process *guarded.Process // nil while the server is stopped
}

func newServer(dialect string) (*Server, error) {
	kind := kinds[dialect]
	program, err := kind.path()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sqltest") // short: a socket's path has 107 characters at most
	if err != nil {
		return nil, err
	}
	s := &Server{dialect: dialect, kind: kind, program: program, dir: dir}
	if err := s.create(); err != nil {
		_ = os.RemoveAll(dir) // the error before it says more
		return nil, fmt.Errorf("sqltest: %w", err)
	}
	return s, nil
}

// create makes the server's files and starts it on a free port.
func (s *Server) create() (err error) {
	if id := unprivileged(); id != nil {
		if err := os.Chown(s.dir, int(id.Uid), int(id.Gid)); err != nil {
			return err
		}
	}
	if err := s.kind.create(s); err != nil {
		return err
	}
	for range 5 {
		if s.port, err = guarded.FreePort(); err != nil {
			return err
		}
		if err = s.start(); err == nil || !strings.Contains(err.Error(), "in use") {
			return err
		}
	}
	return err
}

// unprivileged is who runs the servers when the tests run as root, which initdb refuses.
func unprivileged() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	id := &syscall.Credential{Uid: 65534, Gid: 65534}
	if nobody, err := user.Lookup("nobody"); err == nil {
		uid, _ := strconv.ParseUint(nobody.Uid, 10, 32) // a number wherever there is a root
		gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
		id.Uid, id.Gid = uint32(uid), uint32(gid)
	}
	return id
}

// command prepares a program that runs in the server's directory.
func (s *Server) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: unprivileged()}
	return cmd
}

func (s *Server) start() (err error) {
	run := s.kind.run(s)
	if s.process, err = guarded.Start(s.command(run[0], run[1:]...), s.kind.end); err != nil {
		return err
	}
	if err = s.process.Await(patience, 5*time.Millisecond, s.accepts, s.kind.signal); err != nil {
		s.process = nil
		return fmt.Errorf("%s %w", s.kind.names[0], err)
	}
	return nil
}

func (s *Server) accepts() bool {
	db, err := (&Database{Dialect: s.dialect, Name: s.kind.admin, server: s}).connect()
	if err != nil {
		return false
	}
	err = db.Ping()
	return errors.Join(err, db.Close()) == nil
}

// Addr is the server's host and port, which stay the same.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Stop kills the server, as an outage does: connections break, and nobody listens.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.End(s.kind.signal)
		s.process = nil
	}
}

// Restart starts the server on the same port with the same data, after stopping it if it runs.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		tb.Fatalf("sqltest: restart: %v", err)
	}
}

// close ends the server for good.
func (s *Server) close() {
	s.Stop()
	_ = os.RemoveAll(s.dir) // what is left is in a temporary directory
}
