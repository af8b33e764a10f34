package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"testing"

	"github.com/apium/apium/internal/certtest"
	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/internal/sqltest"
)

// connecting is one way to a database, as settings have it.
type connecting struct {
	user, host string
	options    map[string]any // OPTIONS of Django, where url is ""
	driver     string         // of SQLAlchemy's URL, and its query
	query      url.Values
	differs    string // what ours does, where that is not what Python's driver does
}

// connect connects as ours do.
func connect(t *testing.T, s *sqldb.Source, err error) string {
	t.Helper()
	if err != nil {
		return "refused"
	}
	db := s.Open(1)
	defer db.Close()
	var cipher, ask string
	switch s.Dialect {
	case sqldb.PostgreSQL:
		ask = "SELECT CASE WHEN ssl THEN 'tls' ELSE '' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
	case sqldb.MySQL:
		ask = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'"
	case sqldb.SQLite:
	}
	switch err := db.QueryRowContext(t.Context(), ask).Scan(&cipher); {
	case err != nil:
		t.Log(err)
		return "refused"
	case cipher == "":
		return "plain"
	}
	return "tls"
}

// TestDatabaseTLS: databases are reached with TLS, or not, as psycopg and PyMySQL reach them with the same OPTIONS of Django
// and the same URLs of SQLAlchemy: whether it is used, who must have signed the certificate, for whom, and a certificate of one's own.
func TestDatabaseTLS(t *testing.T) {
	t.Parallel()
	type options = map[string]any
	ways := map[string]func(c certtest.Files) []connecting{
		sqltest.PostgreSQL: func(c certtest.Files) []connecting {
			return []connecting{
				{user: "apium", host: "localhost", options: options{"sslmode": "disable"}},
				{user: "apium", host: "localhost", options: options{}},
				{user: sqltest.Secured, host: "localhost", options: options{"sslmode": "disable"}},
				{user: sqltest.Secured, host: "localhost", options: options{"sslmode": "prefer"}},
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"sslmode": "require"}},
				{user: sqltest.Secured, host: "localhost", options: options{"sslmode": "require", "sslrootcert": c.OtherCA}},
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"sslmode": "verify-ca", "sslrootcert": c.CA}},
				{user: sqltest.Secured, host: "localhost", options: options{"sslmode": "verify-full", "sslrootcert": c.CA}},
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"sslmode": "verify-full", "sslrootcert": c.CA}},
				{user: sqltest.Secured, host: "localhost", options: options{"sslmode": "verify-full", "sslrootcert": c.OtherCA}},
				{user: sqltest.Certified, host: "localhost", options: options{"sslmode": "require"}},
				{user: sqltest.Certified, host: "localhost", options: options{"sslmode": "verify-full", "sslrootcert": c.CA, "sslcert": c.Cert, "sslkey": c.Key}},
				{user: sqltest.Secured, host: "localhost", options: options{"sslmode": "requierd"}},
				{user: sqltest.Secured, host: "localhost", options: options{"sslmoed": "require"}},
				{user: sqltest.Certified, host: "localhost", driver: "psycopg", query: url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.CA}, "sslcert": {c.Cert}, "sslkey": {c.Key}}},
				{user: sqltest.Secured, host: "127.0.0.1", driver: "psycopg2", query: url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.CA}}},
			}
		},
		sqltest.MySQL: func(c certtest.Files) []connecting {
			own := options{"ca": c.CA, "cert": c.Cert, "key": c.Key}
			return []connecting{
				{user: "apium", host: "localhost", options: options{"ssl_disabled": true}},
				{user: sqltest.Secured, host: "localhost", options: options{}},
				// mysqlclient, which Django recommends, looks at names only if it is told to.
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"ssl": options{"ca": c.CA}}, differs: "tls"},
				{user: sqltest.Secured, host: "localhost", options: options{"ssl": options{"ca": c.CA}}},
				{user: sqltest.Secured, host: "localhost", options: options{"ssl": options{"ca": c.OtherCA}}},
				{user: sqltest.Secured, host: "localhost", options: options{"ssl": options{"ca": c.OtherCA, "verify_mode": "none", "check_hostname": false}}},
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"ssl": options{"ca": c.CA, "check_hostname": false}}},
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"ssl": options{"ca": c.CA, "check_hostname": true}}},
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"ssl_ca": c.CA}},
				{user: sqltest.Secured, host: "127.0.0.1", options: options{"ssl_ca": c.CA, "ssl_verify_identity": true, "ssl_verify_cert": true}},
				{user: sqltest.Certified, host: "localhost", options: options{"ssl": options{"ca": c.CA}}},
				{user: sqltest.Certified, host: "localhost", options: options{"ssl": own}},
				{user: sqltest.Secured, host: "localhost", options: options{"ssl_moed": "REQUIRED"}},
				{user: sqltest.Certified, host: "localhost", driver: "pymysql", query: url.Values{"ssl_ca": {c.CA}, "ssl_cert": {c.Cert}, "ssl_key": {c.Key}}},
				{user: sqltest.Secured, host: "127.0.0.1", driver: "pymysql", query: url.Values{"ssl_ca": {c.CA}}},
				{user: sqltest.Secured, host: "127.0.0.1", driver: "pymysql", query: url.Values{"ssl_ca": {c.CA}, "ssl_check_hostname": {"false"}}},
			}
		},
	}
	for dialect, of := range ways {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			server, c := sqltest.StartTLS(t, dialect)
			name := server.Database(t).Name
			var input [][2]any
			var ours []string
			cases := of(c)
			for _, way := range cases {
				if way.driver == "" {
					entry := map[string]any{
						"ENGINE": "django.db.backends." + dialect, "NAME": name, "USER": way.user, "PASSWORD": sqltest.Password,
						"HOST": way.host, "PORT": server.Port(), "OPTIONS": way.options,
					}
					input = append(input, [2]any{"django", entry})
					s, err := sqldb.FromDjango([]byte(toJSON(t, entry)))
					ours = append(ours, connect(t, s, err))
					continue
				}
				text := fmt.Sprintf("%s+%s://%s:%s@%s:%s/%s?%s", dialect, way.driver, way.user, sqltest.Password, way.host, server.Port(), name, way.query.Encode())
				input = append(input, [2]any{"url", text})
				s, err := sqldb.Parse(text)
				ours = append(ours, connect(t, s, err))
			}
			cmd := exec.Command(interpreter(celery57), "databasetls.py")
			cmd.Dir, cmd.Stdin = appDir, bytes.NewReader([]byte(toJSON(t, input)))
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var pythons []string
			if err == nil {
				err = json.Unmarshal(out, &pythons)
			}
			if err != nil || len(pythons) != len(ours) {
				t.Fatalf("python: %v\n%s\n%s", err, out, tail(stderr.String(), 3000))
			}
			for i, way := range cases {
				want := pythons[i]
				if way.differs != "" {
					if want == way.differs {
						t.Errorf("%+v: Python's driver does the same", way)
					}
					want = way.differs
				}
				if ours[i] != want {
					t.Errorf("%+v: %s, want %s", way, ours[i], want)
				}
			}
			if t.Failed() {
				t.Logf("Python's drivers said:\n%s", stderr.String())
			}
		})
	}
}
