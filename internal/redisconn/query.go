package redisconn

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/settings/connection"
)

// query reads the query parameters of one URL. On broker URLs only ssl_* means
// anything; on result backends and Unix sockets they go to the Redis client. Celery does
// not start with others on broker URLs; elsewhere it does, and they have no effect here.
type query struct {
	ignored  []string // names of parameters without effect
	role     Role
	unix     bool
	opts     *Options
	endpoint *endpoint
	db       string
	ssl      *connection.TLS
}

func (q *query) set(scheme, key, value string) error {
	switch {
	case strings.HasPrefix(key, "ssl_"):
		return q.setTLS(scheme, key, value)
	case key == "credential_provider":
		return errors.New("credential_provider names a Python class: write user and password into the URL instead")
	case key == "virtual_host" && (q.unix || q.role == Backend):
		if q.unix {
			q.db = value
		}
		return nil
	case q.unix || q.role == Backend:
		if err := q.setClient(key, value); err != nil {
			return fmt.Errorf("query parameter %s: %w", key, err)
		}
		return nil
	}
	switch key {
	case "heartbeat", "insist", "login_method", "connect_timeout":
		return nil // kombu takes them for other transports
	}
	return fmt.Errorf("unexpected query parameter %s: such options belong in broker_transport_options", key)
}

func (q *query) setTLS(scheme, key, value string) error {
	switch {
	case q.unix:
		return fmt.Errorf("%s: a Unix socket has no TLS", key)
	case q.role == Backend && scheme == "redis":
		return fmt.Errorf("%s needs the scheme rediss", key)
	}
	ssl := connection.TLS{}
	if q.ssl != nil {
		ssl = *q.ssl
	}
	q.ssl = &ssl
	if key == "ssl_password" {
		return errors.New("ssl_password: a key with a password cannot be read here: decrypt it, with openssl pkey -in KEY -out NEW")
	}
	if !setTLS(&ssl, key, value) {
		q.ignored = append(q.ignored, key)
	}
	return nil
}

// setClient sets what redis-py calls it.
func (q *query) setClient(key, value string) error {
	switch key {
	case "db":
		if q.role == Backend {
			q.db = value
		}
	case "username":
		q.endpoint.username = value
	case "password":
		q.endpoint.password = value
	case "client_name":
		q.opts.ClientName = value
	case "socket_timeout":
		return setSeconds(&q.opts.SocketTimeout, value)
	case "socket_connect_timeout":
		return setSeconds(&q.opts.SocketConnectTimeout, value)
	case "health_check_interval":
		return setSeconds(&q.opts.HealthCheckInterval, value)
	case "max_connections", "socket_keepalive", "retry_on_timeout", "retry_on_error", "socket_read_size",
		"timeout", "protocol", "legacy_responses", "encoding", "encoding_errors":
		// They say how redis-py manages its connections; ours need no saying.
	default:
		q.ignored = append(q.ignored, key)
	}
	return nil
}

func setSeconds(dst *time.Duration, value string) error {
	s, err := strconv.ParseFloat(value, 64)
	if err != nil || !(s >= 0) || s > 1e9 {
		return fmt.Errorf("%q is not a number of seconds", value)
	}
	*dst = time.Duration(s * float64(time.Second))
	if *dst == 0 {
		*dst = -1 // 0 is none here, and the default in Options
	}
	return nil
}
