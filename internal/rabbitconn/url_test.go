package rabbitconn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apium/apium/settings/connection"
)

// The expected parts are what kombu 5.7 makes of the URLs, but where it fails later or in silence.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, want string }{
		{"amqp://", "127.0.0.1:5672 guest guest /"},
		{"amqp://h", "h:5672 guest guest /"},
		{"pyamqp://u:p@h/vh", "h:5672 u p vh"},
		{"librabbitmq://u@h", "h:5672 u  /"},
		{"amqp://h/", "h:5672 guest guest /"},
		{"amqp://h//", "h:5672 guest guest /"},
		{"amqp://h/%2F", "h:5672 guest guest /"},
		{"amqp://h/%2Fvh", "h:5672 guest guest /vh"},
		{"amqp://h//vh", "h:5672 guest guest /vh"},
		{"amqp://u:p%2f%40@h:1/a%20b", "h:1 u p/@ a b"},
		{"amqp://[::1]:5/v", "[::1]:5 guest guest v"},
		{"amqps://h", "h:5671 guest guest / tls"},
		{"amqp://h?ssl=true", "h:5671 guest guest / tls"},
		{"amqp://u:p@h/v?heartbeat=5&connect_timeout=2.5&login_method=amqplain", "h:5672 u p v 5s 2.5s AMQPLAIN"},
		{"amqp://a;b:5673;amqp://x:y@c//;", "a:5672 guest guest /; b:5673 guest guest /; c:5672 x y /"},
		{"", "error: AMQP URL is empty"},
		{"localhost:5672", "error: it should start with amqp://"},
		{"redis://h", `error: AMQP URL redis://h/: unknown scheme "redis"; known are amqp, amqps, pyamqp, librabbitmq`},
		{"amqp://u:p/w@h", "error: must be percent-encoded"},
		{"amqp://h?foo=1", "error: unexpected query parameter foo: such options belong in broker_transport_options"},
		{"amqps://h?ssl_ca_certs=/x", "error: broker_use_ssl"},
		{"amqp://h?heartbeat=x", `error: query parameter heartbeat: "x" is not a number of seconds`},
		{"amqp://h?login_method=GSSAPI", `error: broker_login_method is "GSSAPI"; it may be PLAIN, AMQPLAIN or EXTERNAL`},
	} {
		c, err := Parse(test.url, Options{})
		if part, ok := strings.CutPrefix(test.want, "error: "); ok {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v, want %s", test.url, err, part)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		var got []string
		for _, s := range c.servers {
			text := fmt.Sprintf("%s %s %s %s", s.addr(), s.username, s.password, s.vhost)
			if s.tls != nil {
				text += " tls"
			}
			if s.heartbeat > 0 {
				text += fmt.Sprintf(" %v %v %s", s.heartbeat, s.timeout, s.login)
			}
			got = append(got, text)
		}
		if joined := strings.Join(got, "; "); joined != test.want {
			t.Errorf("%s: %s, want %s", test.url, joined, test.want)
		}
	}
}

func TestShownWithoutPassword(t *testing.T) {
	t.Parallel()
	c, err := Parse("pyamqp://u:secret@h//vh;amqps://x:y@[::1]", Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "amqp://u:**@h:5672//vh;amqps://x:**@[::1]:5671//"
	if c.String() != want {
		t.Errorf("%s, want %s", c, want)
	}
	at := c.Server()
	if at.Host != "h" || at.Port != 5672 || at.TLS || len(at.Others) != 1 || at.Others[0] != "amqps://x:**@[::1]:5671//" {
		t.Errorf("%+v", at)
	}
}

// A certificate is checked by default, but for its names.
func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tls               connection.TLS
		insecure, chained bool
		name              string
	}{
		{connection.TLS{}, true, true, "h"},
		{connection.TLS{CertReqs: "CERT_REQUIRED", ServerHostname: "other"}, false, false, "other"},
		{connection.TLS{CertReqs: "CERT_NONE"}, true, false, "h"},
	} {
		c, err := Parse("amqp://h", Options{UseTLS: &test.tls})
		if err != nil {
			t.Fatal(err)
		}
		got := c.servers[0].tls
		if got.InsecureSkipVerify != test.insecure || (got.VerifyConnection != nil) != test.chained || got.ServerName != test.name {
			t.Errorf("%+v: skips %v, checks the chain alone %v, name %s", test.tls, got.InsecureSkipVerify, got.VerifyConnection != nil, got.ServerName)
		}
	}
	_, err := Parse("amqps://h", Options{UseTLS: &connection.TLS{CACerts: "/nowhere"}})
	if err == nil || !strings.Contains(err.Error(), "ca_certs: open /nowhere") || strings.Contains(err.Error(), "ssl_ca") {
		t.Errorf("%v", err)
	}
}

// Of several servers the first is tried first, or any (broker_failover_strategy).
func TestOrderOfServers(t *testing.T) {
	t.Parallel()
	for shuffle, want := range map[bool]int{false: 1, true: 3} {
		c, err := Parse("amqp://a;amqp://b;amqp://c", Options{Shuffle: shuffle})
		if err != nil {
			t.Fatal(err)
		}
		first := map[string]bool{}
		for range 200 {
			order := c.order()
			first[order[0].host] = true
			if len(order) != 3 {
				t.Fatalf("%d servers", len(order))
			}
		}
		if len(first) != want || !shuffle && !first["a"] {
			t.Errorf("shuffled %v: the first are %v", shuffle, first)
		}
	}
}
