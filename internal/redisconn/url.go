package redisconn

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

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
		u, err := splitURL(raw)
		if err != nil {
			return nil, err
		}
		e, err := cfg.endpoint(u, role)
		if err != nil {
			return nil, fmt.Errorf("redis URL %s: %w", u.masked(), err)
		}
		if u.scheme == "sentinel" {
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
func (c *Config) endpoint(u parts, role Role) (endpoint, error) {
	e := endpoint{scheme: u.scheme, network: "tcp", username: u.username, password: u.password}
	q := query{role: role, unix: u.scheme == "redis+socket", opts: &c.opts, endpoint: &e, db: u.path, ssl: c.opts.UseTLS}
	port := "6379"
	switch u.scheme {
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
		if u.path == "" {
			return e, errors.New("the path of the socket is missing")
		}
		e.network, e.addr, q.db = "unix", "/"+u.path, ""
	case "socket":
		return e, errors.New("socket:// must be written redis+socket://")
	default:
		err := fmt.Errorf("unknown scheme %q; known are redis, rediss, redis+socket and sentinel", u.scheme)
		if role == Backend {
			err = fmt.Errorf("%w, and disabled:// stores no results", err)
		}
		return e, err
	}
	for _, p := range u.query {
		if err := q.set(u.scheme, p.key, p.value); err != nil {
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
	host := u.host
	if host == "" {
		host = "127.0.0.1"
	}
	if u.port != "" && u.port != "0" {
		port = u.port
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
func sniHost(u parts, host string) string {
	if u.scheme == "sentinel" {
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
		return 0, fmt.Errorf("the database is a number from 0 on, not %q", s)
	}
	return n, nil
}

// parts are the parts of one URL, decoded.
type parts struct {
	scheme, host, port string
	username, password string
	path               string // without the leading slash
	query              []param
}

type param struct{ key, value string }

// masked names the URL in errors.
func (u parts) masked() string {
	user := u.username
	if u.password != "" {
		user += ":**"
	}
	if user != "" {
		user += "@"
	}
	host := u.host
	if u.port != "" {
		host += ":" + u.port
	}
	return u.scheme + "://" + user + host + "/" + u.path
}

// splitURL splits as Python's urllib does with an http URL, which is how kombu
// reads any URL: the last @ ends the user, and nothing is invalid but the port.
func splitURL(raw string) (parts, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return parts{}, errors.New("redis URL: it has no scheme; it should start with redis://")
	}
	u := parts{scheme: strings.ToLower(scheme)}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	netloc, path, _ := strings.Cut(rest, "/")
	u.path = unquote(path)
	u.query = splitQuery(query)

	host := netloc
	if i := strings.LastIndexByte(netloc, '@'); i >= 0 {
		user, password, _ := strings.Cut(netloc[:i], ":")
		u.username, u.password = unquote(user), unquote(password)
		host = netloc[i+1:]
	}
	if _, v6, ok := strings.Cut(host, "["); ok {
		host, u.port, _ = strings.Cut(v6, "]")
		_, u.port, _ = strings.Cut(u.port, ":")
	} else {
		host, u.port, _ = strings.Cut(host, ":")
	}
	u.host = strings.ToLower(unquote(host))
	if u.port != "" {
		if _, err := strconv.ParseUint(u.port, 10, 16); err != nil {
			// The port is not quoted: an unescaped / or # in a password ends up here.
			return u, errors.New("redis URL: the port is not a number up to 65535; the characters / ? # % in a password must be percent-encoded")
		}
	}
	return u, nil
}

func splitQuery(s string) []param {
	var params []param
	for _, pair := range strings.Split(s, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue // as Python's parse_qsl
		}
		plus := strings.NewReplacer("+", " ")
		params = append(params, param{unquote(plus.Replace(key)), unquote(plus.Replace(value))})
	}
	return params
}

// unquote decodes %xx and leaves what is no such escape as it is.
func unquote(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
