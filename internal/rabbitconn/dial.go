package rabbitconn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ConnError is a failure to connect to a server.
type ConnError struct {
	Server string // passwords masked
	Err    error
}

func (e *ConnError) Error() string {
	return fmt.Sprintf("rabbitmq: connect %s: %s", e.Server, Describe(e.Err))
}

func (e *ConnError) Unwrap() error { return e.Err }

// Dial connects to the first server that can be reached, trying each once. Errors join *ConnError.
func (c *Config) Dial(ctx context.Context) (*Connection, error) {
	var errs []error
	conn := c.dialFirst(ctx, func(s *server, err error, _ bool) { errs = append(errs, &ConnError{Server: s.String(), Err: err}) })
	if conn == nil {
		return nil, errors.Join(errs...)
	}
	return conn, nil
}

// dialFirst tells failed of each server that cannot be reached, and whether it is the last one.
func (c *Config) dialFirst(ctx context.Context, failed func(s *server, err error, last bool)) *Connection {
	servers := c.order()
	for i, s := range servers {
		conn, err := c.dialServer(ctx, s)
		if err == nil {
			return conn
		}
		last := i == len(servers)-1 || ctx.Err() != nil
		failed(s, err, last)
		if last {
			break
		}
	}
	return nil
}

// order is how the servers are tried: always from the first on, or at random.
func (c *Config) order() []*server {
	if !c.opts.Shuffle {
		return c.servers
	}
	shuffled := make([]*server, len(c.servers))
	for i, place := range rand.Perm(len(c.servers)) {
		shuffled[i] = c.servers[place]
	}
	return shuffled
}

// dialServer connects, and logs in, within the connect timeout.
func (c *Config) dialServer(ctx context.Context, s *server) (*Connection, error) {
	timeout := s.timeout
	if timeout <= 0 {
		timeout = c.opts.SocketConnectTimeout
	}
	if timeout <= 0 {
		timeout = DefaultConnectTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dial := c.opts.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6,
		}}).DialContext
	}
	nc, err := dial(ctx, "tcp", s.addr())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	conn, err := c.open(ctx, s, nc)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		if why := ctx.Err(); why != nil {
			return nil, why
		}
		return nil, err
	}
	return conn, nil
}

// open encrypts and logs in.
func (c *Config) open(ctx context.Context, s *server, nc net.Conn) (*Connection, error) {
	if s.tls != nil {
		encrypted := tls.Client(nc, s.tls)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		nc = encrypted
	}
	heartbeat := cmp.Or(s.heartbeat, c.opts.Heartbeat)
	cork := &corked{Conn: nc}
	frames := newFramed(cork)
	frames.silent = heartbeat < 0
	began := time.Now()
	conn, err := amqp.Open(frames, amqp.Config{
		SASL:       []amqp.Authentication{s.authentication()},
		Vhost:      s.vhost,
		ChannelMax: uint16(min(max(c.opts.ChannelMax, 0), 1<<16-1)), //nolint:gosec // it is bounded
		FrameSize:  max(c.opts.FrameMax, 0),
		Heartbeat:  max(heartbeat, 0),
		Locale:     "en_US",
		Properties: c.properties(),
	})
	switch {
	case errors.Is(err, amqp.ErrCredentials) && time.Since(began) < refusalTakes, errors.Is(err, amqp.ErrVhost):
		return nil, errHandshake
	case err != nil:
		return nil, err
	}
	return watch(conn, cork, s), nil
}

// refusalTakes is less than the three seconds that RabbitMQ waits before it closes the connection of who gives a wrong password, without a word.
const refusalTakes = 2 * time.Second

// errHandshake stands for the library's guesses that a connection which ends while we log in ends because of the user or the virtual host.
// Of a virtual host RabbitMQ says so itself, and a password it refuses slowly. All else is a connection that was lost, and is made again.
var errHandshake = fmt.Errorf("while logging in: %w", io.EOF)

// properties is made anew for each connection: the library adds to it.
func (c *Config) properties() amqp.Table {
	table := amqp.Table{"product": "Apium", "platform": "Go"}
	if c.opts.Name != "" {
		table["connection_name"] = c.opts.Name
	}
	maps.Copy(table, c.opts.Properties)
	return table
}

func (s *server) authentication() amqp.Authentication {
	switch s.login {
	case "AMQPLAIN":
		return &amqp.AMQPlainAuth{Username: s.username, Password: s.password}
	case "EXTERNAL":
		return &amqp.ExternalAuth{}
	}
	return &amqp.PlainAuth{Username: s.username, Password: s.password}
}
