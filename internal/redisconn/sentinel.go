package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/FZambia/sentinel"
	"github.com/gomodule/redigo/redis"
)

// dialMaster asks the Sentinels for the master and connects to it. The answer is
// not kept: after a failover the next connection goes to the new master.
func (c *Config) dialMaster(ctx context.Context, wrap func(net.Conn) net.Conn) (redis.Conn, string, error) {
	e, err := c.master(ctx)
	if err != nil {
		return nil, "", &ConnError{Op: "connect", Addr: c.String(), Err: fmt.Errorf("the master %s: %w", c.opts.MasterName, err)}
	}
	conn, err := c.dialEndpoint(ctx, e, wrap)
	if err == nil && !sentinel.TestRole(conn, "master") {
		conn.Close()
		err = errNotMaster
	}
	if err != nil {
		return nil, "", &ConnError{Op: "connect", Addr: e.String(), Err: err}
	}
	return conn, e.addr, nil
}

// master asks the Sentinels for the master. Without any, it is the server in use.
func (c *Config) master(ctx context.Context) (endpoint, error) {
	if len(c.sentinels) == 0 {
		return c.endpoints[c.failover.Place(len(c.endpoints))], nil
	}
	e := c.endpoints[0]
	var err error
	e.scheme = "redis"
	e.addr, err = c.masterAddr(ctx)
	return e, err
}

// masterAddr asks one Sentinel after the other, first the one that answered last.
// Given them all, sentinel.Sentinel skips one after each that is down.
func (c *Config) masterAddr(ctx context.Context) (string, error) {
	var errs []error
	first := c.failover.Place(len(c.sentinels))
	for i := range c.sentinels {
		n := (first + i) % len(c.sentinels)
		var dialErr error // which sentinel does not hand through
		stop := func() bool { return true }
		s := &sentinel.Sentinel{
			Addrs:      []string{c.sentinels[n]},
			MasterName: c.opts.MasterName,
			Dial: func(addr string) (conn redis.Conn, err error) {
				conn, dialErr = c.dialSentinel(ctx, addr)
				if conn != nil {
					stop = context.AfterFunc(ctx, func() { conn.Close() }) // it asks without a context
				}
				return conn, dialErr
			},
		}
		addr, err := s.MasterAddr()
		stop()
		_ = s.Close() // the answer is here
		if dialErr != nil {
			err = dialErr
		}
		if err == nil {
			c.failover.Use(n)
			return addr, nil
		}
		errs = append(errs, fmt.Errorf("sentinel %s: %w", c.sentinels[n], err))
	}
	return "", errors.Join(errs...)
}

// dialSentinel connects to one Sentinel and checks that it sees enough others,
// as redis-py does for min_other_sentinels.
func (c *Config) dialSentinel(ctx context.Context, addr string) (redis.Conn, error) {
	timeout := c.opts.SocketConnectTimeout
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := redis.DialContext(ctx, "tcp", addr,
		redis.DialContextFunc(c.opts.Dial),
		redis.DialUsername(c.opts.SentinelUsername),
		redis.DialPassword(c.opts.SentinelPassword),
		redis.DialReadTimeout(timeout),
		redis.DialWriteTimeout(timeout),
	)
	if err != nil {
		return nil, err
	}
	if c.opts.MinOtherSentinels > 0 {
		others, err := redis.Values(redis.DoContext(conn, ctx, "SENTINEL", "sentinels", c.opts.MasterName))
		if err == nil && len(others) < c.opts.MinOtherSentinels {
			err = fmt.Errorf("sentinel %s sees %d other sentinels, min_other_sentinels is %d",
				addr, len(others), c.opts.MinOtherSentinels)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}
