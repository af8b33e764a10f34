// Package client publishes tasks as a Celery producer does and reads their results.
package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/serializer"
)

// DefaultQueue is where a task goes that names no queue: Celery's task_default_queue.
const DefaultQueue = "celery"

// ErrNoBackend is returned by Get of a client without a Loader: there are no
// results to read.
var ErrNoBackend = errors.New("client: no result backend is configured")

// Config is what a client is made of. Only Publisher is required.
type Config struct {
	Publisher broker.Publisher // the client does not close it
	Loader    backend.Loader   // reads results; nil: Get fails with ErrNoBackend
	Queue     string           // for calls that name none. Default: DefaultQueue
	// Serializer and Compression are Celery's task_serializer ("json", "yaml", "msgpack",
	// "pickle") and task_compression ("zlib", "bzip2", "lzma", "zstd", "brotli"). The
	// workers must accept them. Default: JSON that is not compressed.
	Serializer, Compression string
	Origin                  string // who sends, for the origin header. Default: gen<pid>@<host>
}

// Client sends tasks. It is safe for concurrent use.
type Client struct {
	cfg     Config
	format  protocol.Format
	replyTo string // one for each producer, as in Celery; read by the rpc backend only
}

// New returns a client. It connects to nothing by itself.
func New(cfg Config) (*Client, error) {
	if cfg.Publisher == nil {
		return nil, errors.New("client: Publisher is required")
	}
	format, err := serializer.Format(cfg.Serializer, cfg.Compression)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if cfg.Queue == "" {
		cfg.Queue = DefaultQueue
	}
	if cfg.Origin == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		cfg.Origin = fmt.Sprintf("gen%d@%s", os.Getpid(), host)
	}
	return &Client{cfg: cfg, format: format, replyTo: protocol.NewID()}, nil
}

// Call is one task to run: what Python's apply_async takes. Only Task is required.
type Call struct {
	Task   string         // the registered name
	Args   []any          // values pyjson can write
	Kwargs map[string]any // likewise

	ID           string        // default: a new UUID
	Queue        string        // default: the client's
	Countdown    time.Duration // not before now + Countdown; excludes ETA
	ETA          time.Time     // not before
	Expires      time.Time     // not after
	Priority     int           // 0 to 9; on Redis 0 is the most urgent
	IgnoreResult bool          // false leaves it to the task's own setting
}

// Delay sends a task with positional arguments, like Python's task.delay.
func (c *Client) Delay(ctx context.Context, task string, args ...any) (*AsyncResult, error) {
	return c.Send(ctx, Call{Task: task, Args: args})
}

// Send publishes one call. It returns once the broker has the message.
func (c *Client) Send(ctx context.Context, call Call) (*AsyncResult, error) {
	results, err := c.SendAll(ctx, call)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// SendAll publishes calls in the given order, in a single round trip, all or none.
// After a connection failure it is unknown whether they were published.
func (c *Client) SendAll(ctx context.Context, calls ...Call) ([]*AsyncResult, error) {
	results := make([]*AsyncResult, len(calls))
	messages := make([]broker.Publication, len(calls))
	for i, call := range calls {
		if call.Queue == "" {
			call.Queue = c.cfg.Queue
		}
		if call.ID == "" {
			call.ID = protocol.NewID()
		}
		message, err := c.encode(&call)
		if err != nil {
			return nil, fmt.Errorf("client: task %s: %w", call.Task, err)
		}
		messages[i] = broker.Publication{RoutingKey: call.Queue, Message: message}
		results[i] = &AsyncResult{ID: call.ID, loader: c.cfg.Loader}
	}
	if err := c.cfg.Publisher.Publish(ctx, messages...); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return results, nil
}

// encode writes the message of a call whose ID and Queue are known.
func (c *Client) encode(call *Call) ([]byte, error) {
	task, err := c.task(call)
	if err != nil {
		return nil, err
	}
	publication := protocol.Publication{Format: c.format}
	if !call.Expires.IsZero() {
		publication.Expiration = max(time.Until(call.Expires), time.Millisecond)
	}
	return protocol.EncodeTask(task, publication)
}

func (c *Client) task(call *Call) (*protocol.Task, error) {
	if call.Task == "" {
		return nil, errors.New("a call needs the task's name")
	}
	if call.Priority < 0 || call.Priority > 9 {
		return nil, fmt.Errorf("priority %d is not between 0 and 9", call.Priority)
	}
	eta := call.ETA
	if call.Countdown != 0 {
		if !eta.IsZero() {
			return nil, errors.New("give a countdown or an ETA, not both")
		}
		eta = time.Now().Add(call.Countdown)
	}
	args, err := pyjson.Append(nil, append([]any{}, call.Args...)) // [], never null
	if err != nil {
		return nil, fmt.Errorf("arguments: %w", err)
	}
	kwargs := []byte("{}")
	if len(call.Kwargs) > 0 {
		if kwargs, err = pyjson.Append(nil, call.Kwargs); err != nil {
			return nil, fmt.Errorf("keyword arguments: %w", err)
		}
	}
	task := &protocol.Task{
		Protocol:      2,
		Name:          call.Task,
		ID:            call.ID,
		RootID:        call.ID,
		CorrelationID: call.ID,
		Lang:          "go",
		Origin:        c.cfg.Origin,
		Args:          args,
		Kwargs:        kwargs,
		ArgsRepr:      protocol.ArgsRepr(args),
		KwargsRepr:    protocol.KwargsRepr(kwargs),
		ETA:           eta,
		Expires:       call.Expires,
		Priority:      call.Priority,
		RoutingKey:    call.Queue,
		ReplyTo:       c.replyTo,
	}
	if call.IgnoreResult {
		task.IgnoreResult = &call.IgnoreResult
	}
	return task, nil
}
