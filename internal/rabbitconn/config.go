// Package rabbitconn connects to RabbitMQ: URLs as kombu reads them, TLS, logging in, several
// servers, and connections that are made again when they are lost.
package rabbitconn

import (
	"crypto/tls"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/internal/serverurl"
	"github.com/apium/apium/settings/connection"
)

// Defaults of Options.
const (
	DefaultConnectTimeout = 10 * time.Second
	// DefaultHeartbeat is Celery's broker_heartbeat. RabbitMQ asks for 60 s, and the smaller holds.
	DefaultHeartbeat = 120 * time.Second
)

// Options say what a URL does not.
type Options = connection.AMQP

// Config says how to reach a virtual host on one of several servers. It is safe for concurrent use.
type Config struct {
	opts    Options
	servers []*server
	ignored []string
}

// server is one part of a URL.
type server struct {
	scheme, host, port string
	username, password string
	vhost              string
	tls                *tls.Config   // nil: plain
	heartbeat          time.Duration // 0: as Options have it; negative: none
	timeout            time.Duration
	login              string
}

func (s *server) addr() string {
	host := s.host
	if host == "localhost" {
		host = "127.0.0.1" // as py-amqp: RabbitMQ listens on either, and ::1 may be somebody else's
	}
	return net.JoinHostPort(host, s.port)
}

// String is the server as kombu shows it: amqp://guest:**@localhost:5672// is the virtual host /.
func (s *server) String() string {
	host := s.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	path := strings.ReplaceAll(url.PathEscape(serverurl.MaskedPath(s.vhost)), "%2F", "/")
	return s.scheme + "://" + s.username + ":**@" + host + ":" + s.port + "/" + path
}

// String returns the URL in a normal form with every password masked, fit for logs.
func (c *Config) String() string {
	parts := make([]string, len(c.servers))
	for i, s := range c.servers {
		parts[i] = s.String()
	}
	return strings.Join(parts, ";")
}

// Named is the same configuration for connections of another name.
func (c *Config) Named(name string) *Config {
	named := *c
	named.opts.Name = name
	return &named
}

// Username is whom the first server's connections log in as.
func (c *Config) Username() string { return c.servers[0].username }

// VirtualHost is that of the first server.
func (c *Config) VirtualHost() string { return c.servers[0].vhost }

// ServerOf tells where a URL leads, without connecting. The error says what is wrong with it, or with what goes with it.
func ServerOf(url string, opts Options) (connection.Server, error) {
	c, err := Parse(url, opts)
	if err != nil {
		return connection.Server{}, err
	}
	return c.Server(), nil
}

// LongestText is how many bytes AMQP has for a name, a routing key or a property.
const LongestText = 255

// Server tells of the first server: that is the one that is tried first whenever there is no
// connection.
func (c *Config) Server() connection.Server {
	s := c.servers[0]
	port, _ := strconv.Atoi(s.port) // it has been read before
	at := connection.Server{Scheme: s.scheme, Host: s.host, Port: port, Username: s.username, VHost: s.vhost, TLS: s.tls != nil, URL: c.String(), Ignored: c.ignored}
	for _, other := range c.servers[1:] {
		at.Others = append(at.Others, other.String())
	}
	return at
}
