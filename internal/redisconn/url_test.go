package redisconn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/settings/connection"
)

// What follows was compared with kombu 5.7.0 and Celery 5.7.0.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url             string
		broker, backend string // network address user password db, or part of the error
	}{
		{"redis://h", "tcp h:6379 u= p= 0", "="},
		{"redis://h/", "tcp h:6379 u= p= 0", "="},
		{"redis://h/3", "tcp h:6379 u= p= 3", "="},
		{"redis://h//3", "tcp h:6379 u= p= 3", "="},
		{"redis://h/%33", "tcp h:6379 u= p= 3", "="},
		{"redis://h/ 1", "tcp h:6379 u= p= 1", "="},
		{"redis://h/abc", `error: redis URL redis://h/abc: the database is a number from 0 on, not "abc"`, "="},
		{"redis://h/0/1", "error: the database", "="},
		{"redis://h/-1", "error: the database", "="},
		{"redis://u:p%40%2F@h:1234/2", "tcp h:1234 u=u p=p@/ 2", "="},
		{"redis://:p@ss@h", "tcp h:6379 u= p=p@ss 0", "="},
		{"redis://:100%@h", "tcp h:6379 u= p=100% 0", "="},
		{"redis://pw@h", "tcp h:6379 u=pw p= 0", "="},
		{"redis://:pa/ss@h", "error: percent-encoded", "="},
		{"redis://:pa#ss@h", "error: percent-encoded", "="},
		{"redis://h:abc", "error: the port", "="},
		{"redis://h:99999", "error: the port", "="},
		{"redis://h:0", "tcp h:6379 u= p= 0", "="},
		{"redis://[::1]:7000/1", "tcp [::1]:7000 u= p= 1", "="},
		{"redis://H.Example", "tcp h.example:6379 u= p= 0", "="},
		{"redis:///4", "tcp 127.0.0.1:6379 u= p= 4", "="},
		{"redis://", "tcp 127.0.0.1:6379 u= p= 0", "="},
		{"redis://h?virtual_host=3", "error: unexpected query parameter virtual_host", "tcp h:6379 u= p= 0"},
		{"redis://h/1?db=2", "error: unexpected query parameter db", "tcp h:6379 u= p= 2"},
		{"redis://h?socket_timeout=5", "error: socket_timeout", "tcp h:6379 u= p= 0"},
		{"redis://h?socket_timeout=x", "error: socket_timeout", `error: query parameter socket_timeout: "x" is not a number of seconds`},
		{"redis://h?heartbeat=5&connect_timeout=4", "tcp h:6379 u= p= 0", "tcp h:6379 u= p= 0"},
		{"redis://h?foo=1", "error: unexpected query parameter foo", "tcp h:6379 u= p= 0"},
		{"redis://h?foo=", "tcp h:6379 u= p= 0", "="},
		{"redis://h?username=x&password=y+z", "error: username", "tcp h:6379 u=x p=y z 0"},
		{"redis://h?max_connections=3&protocol=3", "error: max_connections", "tcp h:6379 u= p= 0"},
		{"redis://h?credential_provider=a.B", "error: credential_provider names a Python class", "="},
		{"redis+socket:///tmp/s?foo=1", "unix /tmp/s u= p= 0", "="},
		{"redis+socket:///tmp/s", "unix /tmp/s u= p= 0", "="},
		{"redis+socket:///tmp/s?virtual_host=5", "unix /tmp/s u= p= 5", "="},
		{"redis+socket:///tmp/s?db=5", "unix /tmp/s u= p= 0", "unix /tmp/s u= p= 5"},
		{"redis+socket://u:pw@/tmp/s?virtual_host=2", "unix /tmp/s u=u p=pw 2", "="},
		{"redis+socket:///tmp/s?ssl_cert_reqs=none", "error: no TLS", "="},
		{"redis+socket://", "error: the path of the socket is missing", "="},
		{"socket:///tmp/s", "error: redis+socket://", "="},
		{"sentinel://a:1/2;sentinel://:pw@b", "tcp a:1 u= p= 2; tcp b:26379 u= p=pw 0", "tcp a:1 u= p= 2; tcp b:6379 u= p=pw 0"},
		{"sentinel://a;redis://b", "error: sentinel:// cannot be mixed", "="},
		{"redis://h1/1;redis://h2/2;", "tcp h1:6379 u= p= 1; tcp h2:6379 u= p= 2", "error: one server"},
		{"amqp://h", `error: unknown scheme "amqp"`, "="},
		{"localhost:6379", "error: no scheme", "="},
		{"", "error: empty", "="},
	} {
		if test.backend == "=" {
			test.backend = test.broker
		}
		for role, want := range map[Role]string{Broker: test.broker, Backend: test.backend} {
			cfg, err := Parse(test.url, role, Options{Options: connection.Options{MasterName: "m"}})
			if part, ok := strings.CutPrefix(want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s (role %d): error %v, want %s", test.url, role, err, part)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s (role %d): %v", test.url, role, err)
				continue
			}
			var got []string
			for _, e := range cfg.endpoints {
				got = append(got, fmt.Sprintf("%s %s u=%s p=%s %d", e.network, e.addr, e.username, e.password, e.db))
			}
			if diff := cmp.Diff(want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("%s (role %d): %s", test.url, role, diff)
			}
		}
	}
}

func TestParseTLS(t *testing.T) {
	t.Parallel()
	const none, chain, full = "unverified", "chain only", "verified"
	for _, test := range []struct {
		url             string
		broker, backend string
	}{
		{"redis://h", "plain", "plain"},
		{"rediss://h", none, "error: ssl_cert_reqs"},
		{"rediss://h?ssl_cert_reqs=none", none, none},
		{"rediss://h?ssl_cert_reqs=CERT_NONE", none, none},
		{"rediss://h?ssl_cert_reqs=required", full, full},
		{"rediss://h?ssl_cert_reqs=CERT_OPTIONAL", full, full},
		{"rediss://h?ssl_cert_reqs=bad", "error: ssl_cert_reqs", "error: ssl_cert_reqs"},
		{"rediss://h?ssl_check_hostname=true", full, "error: ssl_cert_reqs"},
		{"rediss://h?ssl_check_hostname=FALSE&ssl_cert_reqs=required", chain, chain},
		{"redis://h?ssl_cert_reqs=required", full, "error: scheme rediss"},
		{"rediss://h?ssl_ca_certs=/does/not%20exist&ssl_cert_reqs=none", "error: /does/not exist", "error: /does/not exist"},
		{"rediss://h?ssl_keyfile=/x&ssl_cert_reqs=none", "error: ssl_certfile", "error: ssl_certfile"},
		{"rediss://h?ssl_foo=1&ssl_cert_reqs=none", none, none},
		{"rediss://h?ssl_password=1&ssl_cert_reqs=none", "error: openssl", "error: openssl"},
		{"rediss://h?ssl_ca_path=/does/not%20exist&ssl_cert_reqs=none", "error: /does/not exist", "error: /does/not exist"},
		{"rediss://h?ssl_ca_data=x&ssl_cert_reqs=none", "error: ssl_ca_data holds no", "error: ssl_ca_data holds no"},
	} {
		for role, want := range map[Role]string{Broker: test.broker, Backend: test.backend} {
			cfg, err := Parse(test.url, role, Options{})
			got := "plain"
			switch {
			case err != nil:
				if part, ok := strings.CutPrefix(want, "error: "); ok && strings.Contains(err.Error(), part) {
					continue
				}
				got = err.Error()
			case cfg.endpoints[0].tls == nil:
			case !cfg.endpoints[0].tls.InsecureSkipVerify:
				got = full
			case cfg.endpoints[0].tls.VerifyConnection != nil:
				got = chain
			default:
				got = none
			}
			if got != want {
				t.Errorf("%s (role %d): %s, want %s", test.url, role, got, want)
			}
		}
	}
}

func TestParseOptions(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("redis://h?socket_timeout=1.5&socket_connect_timeout=0&health_check_interval=7&client_name=n",
		Backend, Options{Options: connection.Options{Password: "fallback", SocketTimeout: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	o := cfg.opts
	if o.SocketTimeout != 1500*time.Millisecond || o.SocketConnectTimeout != DefaultConnectTimeout ||
		o.HealthCheckInterval != 7*time.Second || o.ClientName != "n" || cfg.endpoints[0].password != "fallback" {
		t.Errorf("%+v, %+v", o, cfg.endpoints)
	}
	if _, err := Parse("sentinel://h", Broker, Options{}); err == nil || !strings.Contains(err.Error(), "master_name") {
		t.Errorf("sentinel without master_name: %v", err)
	}
}

func TestPasswordIsMasked(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://u:secret@h/1", "redis+socket://:secret@/s", "sentinel://:secret@a;sentinel://:secret@b",
		"redis://:secret@a;redis://:secret@b", "redis://h?password=secret",
		"redis://:secret@h/x", "redis://:secret@h:x", "redis://:secret/@h", "redis://:secret@h?foo=1", "redis://:secret@h;x://:secret@h",
	} {
		for _, role := range []Role{Broker, Backend} {
			cfg, err := Parse(url, role, Options{Options: connection.Options{MasterName: "m"}})
			text := fmt.Sprint(err)
			if err == nil {
				text = cfg.String()
			}
			if strings.Contains(text, "secret") {
				t.Errorf("%s: %s", url, text)
			}
		}
	}
	cfg, _ := Parse("redis://u:secret@h/1", Broker, Options{})
	if got, want := cfg.String(), "redis://u:**@h:6379/1"; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/2?ssl_cert_reqs=none", "redis+socket:///s?virtual_host=%31", "sentinel://[::1];sentinel://b", "redis://%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		for _, role := range []Role{Broker, Backend} {
			cfg, err := Parse(url, role, Options{Options: connection.Options{MasterName: "m"}})
			if err == nil && (cfg.String() == "" || cfg.DB() < 0) {
				t.Errorf("%q: %s", url, cfg)
			}
		}
	})
}
