package rabbitconn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Connection is one connection, from when it was made until it is lost.
type Connection struct {
	*amqp.Connection
	// Epoch numbers the connections of a Holder, from 1 on. A delivery tag means something only
	// together with the connection and the channel it came from.
	Epoch uint64

	server *server
	cork   *corked
	done   chan struct{}

	mu        sync.Mutex
	err       error
	blocked   bool
	reason    string        // why it is blocked
	unblocked chan struct{} // closed while it is not
}

func watch(conn *amqp.Connection, cork *corked, s *server) *Connection {
	c := &Connection{Connection: conn, cork: cork, server: s, done: make(chan struct{}), unblocked: make(chan struct{})}
	close(c.unblocked)
	closes, blocks := conn.NotifyClose(make(chan *amqp.Error, 1)), conn.NotifyBlocked(make(chan amqp.Blocking, 8))
	go c.listen(closes, blocks)
	return c
}

// listen lives as long as the connection.
func (c *Connection) listen(closes <-chan *amqp.Error, blocks <-chan amqp.Blocking) {
	for {
		select {
		case b, ok := <-blocks:
			if !ok {
				blocks = nil
			} else {
				c.block(b)
			}
		case err := <-closes: // nil when it was closed from here
			c.mu.Lock()
			c.err = amqp.ErrClosed
			if err != nil {
				c.err = err
			}
			c.mu.Unlock()
			close(c.done)
			return
		}
	}
}

func (c *Connection) block(b amqp.Blocking) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case b.Active && !c.blocked:
		c.blocked, c.reason, c.unblocked = true, b.Reason, make(chan struct{})
	case !b.Active && c.blocked:
		c.blocked, c.reason = false, ""
		close(c.unblocked)
	}
}

// Aside does something on a channel of its own, as the broker closes a channel over what it refuses. Then the error
// is the broker's, also if do has not waited for its answer.
func (c *Connection) Aside(do func(ch *amqp.Channel) error) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }() // a refusal has closed it already
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	err = do(ch)
	if errors.Is(err, amqp.ErrClosed) { // by what was not waited for
		if why := <-closes; why != nil {
			return why
		}
	}
	return err
}

// String is which of the servers it leads to, passwords masked.
func (c *Connection) String() string { return c.server.String() }

// Done is closed when the connection is lost or closed.
func (c *Connection) Done() <-chan struct{} { return c.done }

// Err tells why the connection was lost: an *amqp.Error, which is amqp.ErrClosed if it was closed
// from here; nil while it is not.
func (c *Connection) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Blocked tells whether the server takes no messages now, and its reason. What is published waits
// in the socket, and may be lost there.
func (c *Connection) Blocked() (reason string, blocked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason, c.blocked
}

// Unblocked is closed while the server takes messages. It does not tell that the connection is lost.
func (c *Connection) Unblocked() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unblocked
}

// InVain is why it was waited for the server in vain until ctx was done.
func (c *Connection) InVain(ctx context.Context) error {
	if reason, blocked := c.Blocked(); blocked {
		return fmt.Errorf("%w: the broker takes no messages (connection.blocked: %s)", context.Cause(ctx), reason)
	}
	return context.Cause(ctx)
}

// CloseBy closes the connection, and waits for the server's answer until then at most.
func (c *Connection) CloseBy(deadline time.Time) error {
	// What has come just before puts the library's deadline off, by three heartbeats.
	late := time.AfterFunc(time.Until(deadline), func() { c.cork.Close() })
	defer late.Stop()
	err := c.CloseDeadline(deadline)
	<-c.done
	return err
}
