// Package rabbittest gives tests their RabbitMQ: one server per test binary, on a free port,
// and a virtual host of its own for every test. Tests that stop the server start one of
// their own.
//
// A server keeps its data in a temporary directory and ends with the test binary, however that
// ends. It takes part in no cluster, so there is no epmd and no distribution port; tests look
// into it and steer it through [Server.Eval].
//
// The program is what the environment variable APIUM_RABBITMQ_SERVER names, or rabbitmq-server
// where packages put it, or from PATH. scripts/rabbitmq-of makes one of another version.
package rabbittest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// shared is the server that all tests of the binary use.
var (
	shared   *Server
	sharedMu sync.Mutex
	names    atomic.Int64
)

// New returns an empty virtual host on the server that all tests share. It ends with the test.
func New(tb testing.TB) *VHost {
	tb.Helper()
	sharedMu.Lock()
	server := shared
	if server == nil {
		var err error
		if server, err = newServer(nil); err != nil {
			sharedMu.Unlock()
			tb.Fatal(err)
		}
		shared = server
	}
	sharedMu.Unlock()
	return server.VHost(tb)
}

// Start starts a server of the test's own, which it may stop, kill and restart.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	server, err := newServer(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.close)
	return server
}

// Stop ends the shared server and waits until nothing of it is left. A test binary that does
// not call it leaves that to the server itself, which ends a moment after it.
func Stop() {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared != nil {
		shared.close()
		shared = nil
	}
}

// Find says whether the server's program is there, and if not what to install.
func Find() error {
	_, err := program()
	return err
}

// Option changes how a server is started.
type Option func(*Server)

// Config adds lines to the server's rabbitmq.conf.
func Config(lines ...string) Option {
	return func(s *Server) { s.config = append(s.config, lines...) }
}

// Managed has the server have the management plugin, in which guest may see everything.
func Managed(s *Server) { s.managed = true }

// VHost is a virtual host, empty at first, in which the user guest may do everything.
type VHost struct {
	Name string

	server *Server
}

// VHost makes a virtual host, which ends with the test.
func (s *Server) VHost(tb testing.TB) *VHost {
	tb.Helper()
	v := &VHost{Name: fmt.Sprintf("test%d", names.Add(1)), server: s}
	s.eval(tb, `rabbit_vhost:add(%s, <<"test">>)`, text(v.Name))
	v.permit(tb, "guest", ".*", ".*", ".*")
	tb.Cleanup(func() {
		// A test may leave its server stopped.
		if _, err := s.evaluate(fmt.Sprintf(`rabbit_vhost:delete(%s, <<"test">>)`, text(v.Name))); err != nil && s.running() {
			tb.Errorf("rabbittest: the end of %s: %v", v.Name, err)
		}
	})
	return v
}

// Server is the server that has the virtual host.
func (v *VHost) Server() *Server { return v.server }

// URL is the amqp:// URL of the virtual host for guest.
func (v *VHost) URL() string { return v.URLFor("guest", "guest") }

// URLFor is the URL for another user, such as [VHost.User] makes.
func (v *VHost) URLFor(user, password string) string {
	return fmt.Sprintf("amqp://%s:%s@%s/%s", user, password, v.server.Addr(), v.Name)
}

// URLAt is the URL for guest through a proxy at host:port.
func (v *VHost) URLAt(addr string) string {
	return fmt.Sprintf("amqp://guest:guest@%s/%s", addr, v.Name)
}

// Password is that of users whom User makes. It is in no other text.
const Password = "Zq9xMARK"

// User makes a user who may configure, write and read only what the patterns match, and returns
// the user's URL.
func (v *VHost) User(tb testing.TB, name, configure, write, read string) string {
	tb.Helper()
	name = v.Name + name
	v.server.eval(tb, `rabbit_auth_backend_internal:add_user(%s, %s, <<"test">>)`, text(name), text(Password))
	tb.Cleanup(func() {
		_, _ = v.server.evaluate(fmt.Sprintf(`rabbit_auth_backend_internal:delete_user(%s, <<"test">>)`, text(name))) // it ends with the server at last
	})
	v.permit(tb, name, configure, write, read)
	return v.URLFor(name, Password)
}

// ChangePassword gives a user another one, who so is not let in again.
func (v *VHost) ChangePassword(tb testing.TB, name, password string) {
	tb.Helper()
	v.server.eval(tb, `rabbit_auth_backend_internal:change_password(%s, %s, <<"test">>)`, text(v.Name+name), text(password))
}

func (v *VHost) permit(tb testing.TB, user, configure, write, read string) {
	tb.Helper()
	v.server.eval(tb, `rabbit_auth_backend_internal:set_permissions(%s, %s, %s, %s, %s, <<"test">>)`,
		text(user), text(v.Name), text(configure), text(write), text(read))
}
