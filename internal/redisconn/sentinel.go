package redisconn

import (
	"context"
	"fmt"
	"net"

	"github.com/FZambia/sentinel"
	"github.com/gomodule/redigo/redis"
)

// dialMaster asks the Sentinels for the master and connects to it. The answer is
// not kept: after a failover the next connection goes to the new master.
func (c *Config) dialMaster(ctx context.Context, wrap func(net.Conn) net.Conn) (redis.Conn, string, error) {
	addr, err := c.masterAddr(ctx)
	if err != nil {
		return nil, "", &ConnError{Op: "ask sentinel for " + c.opts.MasterName, Addr: c.String(), Err: err}
	}
	e := c.endpoints[0]
	e.addr, e.scheme = addr, "redis"
	conn, err := c.dialEndpoint(ctx, e, wrap)
	if err == nil && !sentinel.TestRole(conn, "master") {
		conn.Close()
		err = errNotMaster
	}
	if err != nil {
		return nil, "", &ConnError{Op: "connect", Addr: e.String(), Err: err}
	}
	return conn, addr, nil
}

func (c *Config) masterAddr(ctx context.Context) (string, error) {
	s := &sentinel.Sentinel{
		Addrs:      append([]string(nil), c.sentinels...),
		MasterName: c.opts.MasterName,
		Dial: func(addr string) (redis.Conn, error) {
			return c.dialSentinel(ctx, addr)
		},
	}
	defer s.Close()
	return s.MasterAddr()
}

// dialSentinel connects to one Sentinel and checks that it sees enough others,
// as redis-py does for min_other_sentinels.
func (c *Config) dialSentinel(ctx context.Context, addr string) (redis.Conn, error) {
	timeout := c.opts.ConnectTimeout
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := redis.DialContext(ctx, "tcp", addr,
		redis.DialContextFunc(c.opts.NetDial),
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
