package rabbitconn

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/internal/serverurl"
	"github.com/apium/apium/settings/connection"
)

// Schemes are those of URLs that lead to RabbitMQ.
var Schemes = []string{"amqp", "amqps", "pyamqp", "librabbitmq"}

// Parse reads a broker_url as kombu does:
//
//	amqp://[user[:password]@][host][:port][/virtual host]
//	amqps://…, pyamqp://…, librabbitmq://…
//	amqp://host1;host2;…                                  (failover)
//
// Exactly one slash begins the virtual host; none, and nothing behind it, is the host /. Errors name
// the part that is wrong and never contain the password.
func Parse(rawURL string, opts Options) (*Config, error) {
	c := &Config{opts: opts}
	first := ""
	for _, raw := range strings.Split(rawURL, ";") {
		if raw = strings.TrimSpace(raw); raw == "" {
			continue
		}
		if !strings.Contains(raw, "://") && first != "" {
			raw = first + "://" + raw // a further server has no more than that of the first
		}
		u, err := serverurl.Split(raw)
		if errors.Is(err, serverurl.ErrNoScheme) {
			return nil, fmt.Errorf("AMQP URL: %w; it should start with amqp://", err)
		}
		if err != nil {
			return nil, fmt.Errorf("AMQP URL: %w", err)
		}
		first = cmp.Or(first, u.Scheme)
		s, err := c.server(u)
		if err != nil {
			return nil, fmt.Errorf("AMQP URL %s: %w", u.Masked(), err)
		}
		c.servers = append(c.servers, s)
	}
	if len(c.servers) == 0 {
		return nil, errors.New("AMQP URL is empty")
	}
	if opts.Heartbeat == 0 {
		c.opts.Heartbeat = DefaultHeartbeat
	}
	return c, nil
}

// server turns one URL of the list into a server.
func (c *Config) server(u serverurl.URL) (*server, error) {
	if !slices.Contains(Schemes, u.Scheme) {
		return nil, fmt.Errorf("unknown scheme %q; known are %s", u.Scheme, strings.Join(Schemes, ", "))
	}
	s := &server{
		scheme: u.Scheme, host: cmp.Or(u.Host, "localhost"), port: u.Port, vhost: cmp.Or(u.Path, "/"), login: c.opts.LoginMethod,
		username: cmp.Or(u.Username, c.opts.Username, "guest"), password: cmp.Or(u.Password, c.opts.Password),
	}
	if s.password == "" && s.username == "guest" {
		s.password = "guest"
	}
	ssl := c.opts.UseTLS
	if u.Scheme == "amqps" && ssl == nil {
		ssl = &connection.TLS{}
	}
	for _, p := range u.Query {
		if err := s.set(p.Key, p.Value, &ssl); err != nil {
			return s, err
		}
	}
	port := "5672"
	if ssl != nil {
		port = "5671"
	}
	if s.scheme != "amqps" {
		s.scheme = "amqp" // however it was written
	}
	if s.port == "" || s.port == "0" {
		s.port = port
	}
	s.login = strings.ToUpper(cmp.Or(s.login, "PLAIN"))
	if !slices.Contains([]string{"PLAIN", "AMQPLAIN", "EXTERNAL"}, s.login) {
		return s, fmt.Errorf("broker_login_method is %q; it may be PLAIN, AMQPLAIN or EXTERNAL", s.login)
	}
	var err error
	if ssl != nil {
		s.tls, err = tlsFor(ssl, s.host)
	}
	return s, err
}

// set reads a parameter of the query.
func (s *server) set(key, value string, ssl **connection.TLS) error {
	seconds := func(d *time.Duration) error {
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || n < 0 || n > 1e9 {
			return fmt.Errorf("query parameter %s: %q is not a number of seconds", key, value)
		}
		*d = time.Duration(n * float64(time.Second))
		return nil
	}
	switch key {
	case "heartbeat":
		err := seconds(&s.heartbeat)
		if err == nil && s.heartbeat == 0 {
			s.heartbeat = -1
		}
		return err
	case "connect_timeout":
		return seconds(&s.timeout)
	case "login_method":
		s.login = value
		return nil
	case "insist":
		return nil // kombu takes it, too
	case "ssl":
		if strings.EqualFold(value, "true") && *ssl == nil {
			*ssl = &connection.TLS{}
		}
		return nil
	}
	if strings.HasPrefix(key, "ssl_") {
		return fmt.Errorf("unexpected query parameter %s: such options belong in broker_use_ssl", key)
	}
	return fmt.Errorf("unexpected query parameter %s: such options belong in broker_transport_options", key)
}

// tlsFor is how a server's certificate is checked. As with py-amqp, it must be trusted, but it need
// name the server only if server_hostname is given.
func tlsFor(ssl *connection.TLS, host string) (*tls.Config, error) {
	if ssl.Config != nil {
		cfg := ssl.Config.Clone()
		cfg.ServerName = cmp.Or(cfg.ServerName, host)
		return cfg, nil
	}
	return serverurl.TLS{TLS: ssl, Verified: true, CheckedNames: ssl.ServerHostname != ""}.For(cmp.Or(ssl.ServerHostname, host))
}
