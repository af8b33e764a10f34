package redisconn

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/apium/apium/internal/serverurl"
	"github.com/apium/apium/settings/connection"
)

// Role says for which of Celery's two uses a URL is: the rules differ.
type Role int

// The roles.
const (
	Broker  Role = iota // kombu's rules: no query parameters but ssl_*
	Backend             // Celery's result backend: parameters of the Redis client, strict TLS
)

// Parse reads a URL as kombu (Broker) or Celery's Redis backend (Backend) do:
//
//	redis://[user][:password]@host[:port][/db]
//	rediss://…?ssl_cert_reqs=required&ssl_ca_certs=…
//	redis+socket:///path/to/socket?virtual_host=db
//	sentinel://host:26379[/db];sentinel://host:26379
//	redis://host1;redis://host2                        (broker only: failover)
//
// Errors name the part that is wrong and never contain the password.
func Parse(rawURL string, role Role, opts Options) (*Config, error) {
	cfg := &Config{opts: opts, failover: opts.Failover}
	for _, raw := range strings.Split(rawURL, ";") {
		if raw = strings.TrimSpace(raw); raw == "" {
			continue
		}
		u, err := serverurl.Split(raw)
		if errors.Is(err, serverurl.ErrNoScheme) {
			return nil, fmt.Errorf("redis URL: %w; it should start with redis://", err)
		}
		if err != nil {
			return nil, fmt.Errorf("redis URL: %w", err)
		}
		e, err := cfg.endpoint(u, role)
		if err != nil {
			return nil, fmt.Errorf("redis URL %s: %w", u.Masked(), err)
		}
		if u.Scheme == "sentinel" {
			cfg.sentinels = append(cfg.sentinels, e.addr)
		}
		cfg.endpoints = append(cfg.endpoints, e)
	}
	cfg.opts.setDefaults()
	if err := cfg.check(role); err != nil {
		return nil, err
	}
	return cfg, nil
}

// check looks at what concerns the list as a whole.
func (c *Config) check(role Role) error {
	n := len(c.endpoints)
	switch {
	case n == 0:
		return errors.New("redis URL is empty")
	case len(c.sentinels) > 0 && len(c.sentinels) != n:
		return errors.New("redis URL: sentinel:// cannot be mixed with other schemes")
	case len(c.sentinels) > 0 && c.opts.MasterName == "":
		return errors.New("redis URL: sentinel:// needs master_name in the transport options")
	case n > 1 && len(c.sentinels) == 0 && role == Backend:
		return errors.New("redis URL: a result backend has one server; a list needs sentinel://")
	}
	if c.failover == nil || len(c.sentinels) > 0 {
		c.failover = new(connection.Failover)
	}
	return nil
}

// endpoint turns one URL of the list into a server.
func (c *Config) endpoint(u serverurl.URL, role Role) (endpoint, error) {
	e := endpoint{scheme: u.Scheme, network: "tcp", username: u.Username, password: u.Password}
	q := query{role: role, unix: u.Scheme == "redis+socket", opts: &c.opts, endpoint: &e, db: u.Path, ssl: c.opts.UseTLS}
	port := "6379"
	switch u.Scheme {
	case "redis":
	case "sentinel":
		if role == Broker { // Celery's result backend keeps 6379
			port = "26379"
		}
	case "rediss":
		if q.ssl == nil {
			q.ssl = &connection.TLS{}
		}
	case "redis+socket":
		if u.Path == "" {
			return e, errors.New("the path of the socket is missing")
		}
		e.network, e.addr, q.db = "unix", "/"+u.Path, ""
	case "socket":
		return e, errors.New("socket:// must be written redis+socket://")
	default:
		err := fmt.Errorf("unknown scheme %q; known are redis, rediss, redis+socket and sentinel", u.Scheme)
		if role == Backend {
			err = fmt.Errorf("%w, and disabled:// stores no results", err)
		}
		return e, err
	}
	for _, p := range u.Query {
		if err := q.set(u.Scheme, p.Key, p.Value); err != nil {
			return e, err
		}
	}
	c.ignored = append(c.ignored, q.ignored...)
	if e.username == "" {
		e.username = c.opts.Username
	}
	if e.password == "" {
		e.password = c.opts.Password
	}
	var err error
	if e.db, err = database(q.db); err != nil || q.unix {
		return e, err
	}
	host := u.Host
	if host == "" {
		host = "127.0.0.1"
	}
	if u.Port != "" && u.Port != "0" {
		port = u.Port
	}
	e.addr = net.JoinHostPort(host, port)
	switch {
	case q.ssl == nil:
	case q.ssl.Config != nil:
		e.tls = q.ssl.Config
	default:
		e.tls, err = tlsConfig(q.ssl, role, sniHost(u, host))
	}
	return e, err
}

// sniHost is whom the certificate must name. Behind Sentinel that is the master,
// whose address is not known yet.
func sniHost(u serverurl.URL, host string) string {
	if u.Scheme == "sentinel" {
		return ""
	}
	return host
}

// database reads the number of a database as kombu does.
func database(s string) (int, error) {
	s = strings.TrimSpace(strings.Trim(s, "/"))
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the database is a number from 0 on, not %q", serverurl.MaskedPath(s))
	}
	return n, nil
}
