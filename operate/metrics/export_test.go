package metrics

import "time"

// ListenWith is Listen with other limits.
func (m *Metrics) ListenWith(addr string, idle time.Duration, connections int) (*Server, error) {
	l := defaultLimits
	l.idle, l.connections = idle, connections
	return m.listen(addr, l)
}
