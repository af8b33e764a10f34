package redisconn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Role says for which of Celery's two uses a URL is: the rules differ.
type Role int

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
	opts.setDefaults()
	cfg := &Config{opts: opts}
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
	return cfg, cfg.check(role)
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
	if c.opts.Shuffle && len(c.sentinels) == 0 {
		c.current.Store(int32(rand.IntN(n)))
	}
	return nil
}

// endpoint turns one URL of the list into a server.
func (c *Config) endpoint(u parts, role Role) (endpoint, error) {
	e := endpoint{scheme: u.scheme, network: "tcp", username: u.username, password: u.password}
	if e.username == "" && e.password == "" {
		e.username, e.password = c.opts.Username, c.opts.Password
	}
	ssl := c.opts.UseTLS
	port, db := "6379", u.path
	switch u.scheme {
	case "redis", "sentinel":
		if u.scheme == "sentinel" {
			port = "26379"
		}
	case "rediss":
		if ssl == nil {
			ssl = &TLSOptions{}
		}
	case "redis+socket", "socket":
		e.network, e.addr, db = "unix", "/"+u.path, ""
		if u.path == "" {
			return e, errors.New("the path of the socket is missing")
		}
		if role == Backend && u.scheme == "socket" {
			return e, errors.New("socket:// must be written redis+socket://")
		}
	default:
		return e, fmt.Errorf("unknown scheme %q; known are redis, rediss, redis+socket and sentinel", u.scheme)
	}
	db, ssl, err := c.query(u, role, db, ssl)
	if err != nil {
		return e, err
	}
	if e.db, err = database(db); err != nil {
		return e, err
	}
	if e.network == "unix" {
		return e, nil
	}
	host := u.host
	if host == "" {
		host = "127.0.0.1"
	}
	if u.port != "" {
		port = u.port
	}
	e.addr = net.JoinHostPort(host, port)
	if c.opts.TLSConfig != nil && ssl != nil {
		e.tls = c.opts.TLSConfig
	} else if ssl != nil {
		e.tls, err = ssl.config(role, host)
	}
	return e, err
}

// query reads the query parameters.
func (c *Config) query(u parts, role Role, db string, ssl *TLSOptions) (string, *TLSOptions, error) {
	for _, q := range u.query {
		switch {
		case strings.HasPrefix(q.key, "ssl_"):
			if role == Backend && u.scheme == "redis" {
				return "", nil, fmt.Errorf("%s needs the scheme rediss", q.key)
			}
			if ssl == nil {
				ssl = &TLSOptions{}
			} else {
				own := *ssl
				ssl = &own
			}
			if err := ssl.set(q.key, q.value); err != nil {
				return "", nil, err
			}
		case q.key == "virtual_host" && (role == Backend || strings.HasSuffix(u.scheme, "socket")):
			db = q.value
		case role == Backend:
			if err := c.clientOption(q.key, q.value); err != nil {
				return "", nil, err
			}
		default:
			return "", nil, fmt.Errorf("unexpected query parameter %s; such options belong in broker_transport_options", q.key)
		}
	}
	return db, ssl, nil
}

func (c *Config) clientOption(key, value string) error {
	return fmt.Errorf("unexpected query parameter %s", key)
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
		if n, err := strconv.ParseUint(u.port, 10, 16); err != nil || n == 0 {
			// The port is not quoted: an unescaped / or # in a password ends up here.
			return u, errors.New("redis URL: the port is not a number from 1 to 65535; the characters / ? # % in a password must be percent-encoded")
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
