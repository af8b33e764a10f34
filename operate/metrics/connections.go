package metrics

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// connections bounds how many clients an HTTP server has. Beyond the bound, the one that
// has been waiting longest between two requests gives way to the newcomer, so that nobody
// can lock Prometheus out by connecting and keeping quiet.
type connections struct {
	most int

	mu   sync.Mutex
	open map[net.Conn]bool
	idle []net.Conn // of open, those without a request under way, the longest idle first
}

func newConnections(most int) *connections {
	return &connections{most: most, open: map[net.Conn]bool{}}
}

// note is told of every change of a connection: see [http.Server].
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = slices.DeleteFunc(c.idle, func(one net.Conn) bool { return one == conn })
	switch state {
	case http.StateNew, http.StateIdle:
		c.open[conn] = true
		c.idle = append(c.idle, conn)
		if len(c.open) > c.most {
			c.drop(c.idle[0])
		}
	case http.StateActive:
	case http.StateHijacked, http.StateClosed:
		delete(c.open, conn)
	}
}

// drop closes a connection. What the server then says of it is no news. c.mu is held.
func (c *connections) drop(conn net.Conn) {
	conn.Close()
	delete(c.open, conn)
	c.idle = c.idle[1:]
}
