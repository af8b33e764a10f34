package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/settings/connection"
)

// Defaults of connection.Options.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultReadTimeout    = 30 * time.Second
	DefaultHealthCheck    = 25 * time.Second
)

// Options say what a URL does not. The zero value is fine for everything but Sentinel.
type Options struct {
	connection.Options
	UseTLS   *connection.TLS      // nil: as the URL says
	Failover *connection.Failover // of a list of servers; nil: one of its own
}

// Config says how to reach one logical Redis: one server, a failover list, or
// the master behind Sentinel. It is safe for concurrent use; connections dialed
// from one Config agree on the server of a failover list they use.
type Config struct {
	opts      Options
	endpoints []endpoint
	sentinels []string // host:port; endpoints[0] then holds what logs in to the master
	failover  *connection.Failover
	ignored   []string
	follower  follower // of connections to what the Sentinels say is the master
}

// endpoint is one server of the URL.
type endpoint struct {
	scheme             string
	network, addr      string // "tcp" host:port, "unix" path
	username, password string
	db                 int
	tls                *tls.Config // nil: plain
}

// DB returns the number of the database.
func (c *Config) DB() int { return c.endpoints[0].db }

// Same tells whether another Config leads to the same database of the same servers, for the
// same user; of a failover list, to the same server at any time.
func (c *Config) Same(other *Config) bool {
	same := func(x, y endpoint) bool {
		x.tls, y.tls = nil, nil
		return x == y
	}
	return c == other || c.opts.MasterName == other.opts.MasterName &&
		slices.EqualFunc(c.endpoints, other.endpoints, same) &&
		(len(c.endpoints) == 1 || len(c.sentinels) > 0 || c.failover == other.failover)
}

// String returns the URL in a normal form with every password masked, fit for logs.
func (c *Config) String() string {
	if len(c.sentinels) > 0 {
		parts := make([]string, len(c.sentinels))
		for i, s := range c.sentinels {
			e := c.endpoints[0]
			e.addr = s
			parts[i] = e.String()
		}
		return strings.Join(parts, ";")
	}
	parts := make([]string, len(c.endpoints))
	for i, e := range c.endpoints {
		parts[i] = e.String()
	}
	return strings.Join(parts, ";")
}

func (e endpoint) String() string {
	user := e.username
	if e.password != "" {
		user += ":**"
	}
	if user != "" {
		user += "@"
	}
	if e.network == "unix" {
		return fmt.Sprintf("%s://%s%s?virtual_host=%d", e.scheme, user, e.addr, e.db)
	}
	return fmt.Sprintf("%s://%s%s/%d", e.scheme, user, e.addr, e.db)
}

func (o *Options) setDefaults() {
	if o.SocketConnectTimeout <= 0 {
		o.SocketConnectTimeout = DefaultConnectTimeout
	}
	if o.SocketTimeout == 0 {
		o.SocketTimeout = DefaultReadTimeout
	}
	if o.HealthCheckInterval == 0 {
		o.HealthCheckInterval = DefaultHealthCheck
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6,
		}}).DialContext
	}
}

// Dial returns a connection that is logged in, has its database selected and has
// answered a PING. Errors are *ConnError. A failover list is tried once around,
// starting at the server that worked last.
func (c *Config) Dial(ctx context.Context) (redis.Conn, error) {
	conn, _, err := c.dial(ctx, nil)
	return conn, err
}

// dial is Dial with a hook around the network connection, and the address reached.
func (c *Config) dial(ctx context.Context, wrap func(net.Conn) net.Conn) (redis.Conn, string, error) {
	if len(c.sentinels) > 0 {
		return c.dialMaster(ctx, wrap)
	}
	var errs []error
	first := c.failover.Place(len(c.endpoints))
	for i := range c.endpoints {
		n := (first + i) % len(c.endpoints)
		e := c.endpoints[n]
		conn, err := c.dialEndpoint(ctx, e, wrap)
		if err == nil {
			c.failover.Use(n)
			return conn, e.addr, nil
		}
		errs = append(errs, &ConnError{Op: "connect", Addr: e.String(), Err: err})
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", errors.Join(errs...)
}

// dialEndpoint connects, and logs in, within SocketConnectTimeout.
func (c *Config) dialEndpoint(ctx context.Context, e endpoint, wrap func(net.Conn) net.Conn) (redis.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.SocketConnectTimeout)
	defer cancel()
	timeout := max(c.opts.SocketTimeout, 0)
	if wrap != nil {
		timeout = 0 // a Pipeline has a watchdog instead of a deadline for every command
	}
	conn, err := redis.DialContext(ctx, e.network, e.addr,
		redis.DialContextFunc(func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := c.opts.Dial(ctx, network, addr)
			if err == nil && len(c.sentinels) > 0 {
				nc = c.follow(nc, addr)
			}
			if err == nil && e.tls != nil {
				nc, err = secured(ctx, nc, addr, e.tls)
			}
			if err != nil || wrap == nil {
				return nc, err
			}
			return wrap(nc), nil
		}),
		redis.DialUsername(e.username),
		redis.DialPassword(e.password),
		redis.DialClientName(c.opts.ClientName),
		redis.DialDatabase(e.db),
		redis.DialReadTimeout(timeout),
		redis.DialWriteTimeout(timeout),
	)
	if err != nil {
		return nil, err
	}
	// PING finds a missing password, a server that is loading, and TLS on one side only.
	if _, err := redis.DoContext(conn, ctx, "PING"); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
