package redisconn

import (
	"net"
	"strconv"

	"github.com/apium/apium/settings/connection"
)

// Server tells of the server that worked last, or else the first.
func (c *Config) Server() connection.Server {
	current := c.failover.Place(len(c.endpoints))
	e := c.endpoints[current]
	addr := e.addr
	if len(c.sentinels) > 0 {
		addr = c.sentinels[0]
	}
	s := connection.Server{Scheme: e.scheme, Host: addr, Username: e.username, DB: e.db, TLS: e.tls != nil, URL: c.String(), Ignored: c.ignored}
	if e.network != "unix" {
		if host, port, err := net.SplitHostPort(addr); err == nil {
			s.Host = host
			s.Port, _ = strconv.Atoi(port) // a name of a service is 0
		}
	}
	for i, other := range c.endpoints {
		if i != current {
			s.Others = append(s.Others, other.String())
		}
	}
	return s
}
