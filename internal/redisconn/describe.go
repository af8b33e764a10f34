package redisconn

import (
	"net"
	"strconv"
)

// Server says which server a Config leads to, without its password.
type Server struct {
	Scheme   string // redis, rediss, redis+socket, sentinel
	Host     string // a name or address, or the path of a socket; of Sentinel, the first one's
	Port     int    // 0 of a socket
	Username string
	DB       int
	TLS      bool
	Others   []string // URLs of the others in a failover list, passwords masked
}

// Server tells of the server that worked last, or else the first.
func (c *Config) Server() Server {
	current := int(c.current.Load())
	e := c.endpoints[current]
	addr := e.addr
	if len(c.sentinels) > 0 {
		addr = c.sentinels[0]
	}
	s := Server{Scheme: e.scheme, Host: addr, Username: e.username, DB: e.db, TLS: e.tls != nil}
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
