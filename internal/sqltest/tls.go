package sqltest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/apium/apium/internal/certtest"
)

// Secured and Certified are users, with the password of all, who get in with TLS only, and with a certificate of their
// own only.
const (
	Secured   = "secured"
	Certified = "certified"
	Password  = password
)

// StartTLS starts a server of the test's own that has TLS.
func StartTLS(tb testing.TB, dialect string) (*Server, certtest.Files) {
	tb.Helper()
	files := certtest.New(tb)
	s := Start(tb, dialect)
	s.Stop()
	for name, file := range map[string]string{"ca.pem": files.CA, "server.pem": files.ServerCert, "server.key": files.ServerKey} {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(s.dir, name), text, 0o600)
		}
		if id := unprivileged(); err == nil && id != nil {
			err = os.Chown(filepath.Join(s.dir, name), int(id.Uid), int(id.Gid))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	plain := s.kind.run
	switch dialect {
	case PostgreSQL:
		rules := "host all " + account + " all scram-sha-256\nhostssl all " + Secured + " all scram-sha-256\n" +
			"hostssl all " + Certified + " all scram-sha-256 clientcert=verify-ca\n"
		if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(rules), 0o600); err != nil {
			tb.Fatal(err)
		}
		s.kind.run = func(s *Server) []string {
			return append(plain(s), "-c", "ssl=on", "-c", "ssl_ca_file="+filepath.Join(s.dir, "ca.pem"),
				"-c", "ssl_cert_file="+filepath.Join(s.dir, "server.pem"), "-c", "ssl_key_file="+filepath.Join(s.dir, "server.key"))
		}
	case MySQL:
		s.kind.run = func(s *Server) []string {
			return append(plain(s), "--ssl-ca="+filepath.Join(s.dir, "ca.pem"), "--ssl-cert="+filepath.Join(s.dir, "server.pem"),
				"--ssl-key="+filepath.Join(s.dir, "server.key"))
		}
	}
	s.Restart(tb)
	for user, needs := range map[string]string{Secured: "SSL", Certified: "X509"} {
		if dialect == PostgreSQL {
			s.admin(tb, fmt.Sprintf("CREATE USER %s SUPERUSER PASSWORD '%s'", user, password))
		} else {
			s.admin(tb, fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s' REQUIRE %s", user, password, needs))
			s.admin(tb, fmt.Sprintf("GRANT ALL ON *.* TO '%s'@'%%'", user))
		}
	}
	return s, files
}

// Port is the server's, on localhost.
func (s *Server) Port() string { return strconv.Itoa(s.port) }
