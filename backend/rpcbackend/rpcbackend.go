// Package rpcbackend is Celery's result backend rpc://. Records are messages: a task's message names the
// queue of whoever sent it, and there its records go, each state of them. Nothing is stored.
//
// A worker has a Sender, and who sends tasks has an Inbox, which only knows of tasks that were published with
// its address.
package rpcbackend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/settings/connection"
)

// DefaultExpires is Celery's result_expires.
const DefaultExpires = 24 * time.Hour

// Config of a Sender or an Inbox.
type Config struct {
	// URL is a broker_url; see the URL of amqpbroker.Config. Required.
	URL        string
	Connection connection.AMQP
	// Logger is told what an Inbox cannot read; nil: nobody is. Of the broker's being away tells who consumes.
	Logger *slog.Logger

	// Persistent is result_persistent: the records survive a restart of the broker.
	Persistent bool
	// Serializer is result_serializer: "json", "yaml", "msgpack" or "pickle". Default: json. An Inbox
	// reads them all.
	Serializer string
	// Expires is result_expires: how long the broker keeps an Inbox's queue, with what is in it, while nobody
	// reads it, and the Inbox what it has read. 0: 24 hours; negative: for ever.
	Expires time.Duration
	// MaxKept is how many bytes of records an Inbox keeps, about, before it forgets the oldest that nobody
	// waits for. 0: 256 MiB.
	MaxKept int
}

// Server tells where the URL leads, without connecting.
func (c *Config) Server() (connection.Server, error) { return rabbitconn.ServerOf(c.URL, c.Connection) }

// link is the connection to the broker, which is made when it is first needed.
type link struct{ later *rabbitconn.Later }

func newLink(cfg *Config, prepare func(context.Context, *rabbitconn.Connection) error) (link, error) {
	rabbit, err := rabbitconn.Parse(cfg.URL, cfg.Connection)
	if err != nil {
		return link{}, fmt.Errorf("rpcbackend: %w", err)
	}
	return link{rabbitconn.HoldLater(rabbit, rabbitconn.Holding{Prepare: prepare})}, nil
}

func (l link) get(ctx context.Context) (*rabbitconn.Connection, error) {
	conn, err := l.later.Get(ctx)
	return conn, closedError(err)
}

func closedError(err error) error {
	if errors.Is(err, rabbitconn.ErrClosed) {
		return backend.ErrClosed
	}
	return err
}

// Ping tells whether the broker can be reached.
func (l link) Ping(ctx context.Context) error {
	_, err := l.get(ctx)
	return err
}

// Reconnects returns how often the connection was lost and made again.
func (l link) Reconnects() int64 { return l.later.Reconnects() }

// farewell is how long the broker may take to answer that a connection is closed.
const farewell = 2 * time.Second

// close ends the connection, before which last is called with it, if it is there and this is the first call.
func (l link) close(last func(*rabbitconn.Connection)) { l.later.Close(farewell, last) }
