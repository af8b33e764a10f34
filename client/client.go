package client

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// DefaultQueue is where a task goes that names no queue: Celery's task_default_queue.
const DefaultQueue = "celery"

var (
	// ErrNoBackend is returned where results are read by a client without a Loader.
	ErrNoBackend = errors.New("client: no result backend is configured")
	// ErrNoChords is returned for chords and saved groups when the result backend
	// cannot keep them.
	ErrNoChords = errors.New("client: the result backend does not keep chords and groups")
	// ErrNotWritten is returned where the result backend did not take what a chord needs there: nothing was sent.
	ErrNotWritten = errors.New("client: prepare a chord")
	// ErrNoBroadcast is returned by Revoke when the broker cannot broadcast.
	ErrNoBroadcast = errors.New("client: the broker does not broadcast")
	// ErrGroup is returned where the record of a task is asked of a group, which has none.
	ErrGroup = errors.New("client: this is the result of a group, which has no record")
)

// Config is what a client is made of. Only Publisher is required.
type Config struct {
	// Publisher publishes the messages. The client does not close it. If it is a
	// broker.Broadcaster, too, tasks can be revoked.
	Publisher broker.Publisher
	// Loader reads results; nil: Get fails with ErrNoBackend. The client does not close
	// it. If it is a backend.Chords and backend.Groups, too, chords can be sent and
	// groups be saved. If it is a backend.Mailbox, it has the results of what this client sends only.
	Loader backend.Loader

	// Queue is where tasks go that say nothing (task_default_queue). Default: DefaultQueue.
	Queue string
	// Registry holds the tasks that this program knows. Their options hold for what is sent of them
	// (tasks.Queue, tasks.Priority, tasks.IgnoreResult and so on), and calls that lack arguments, or
	// have too many, fail before they are sent, as in Celery; and its hooks are told of what is sent. Nil: it knows none.
	Registry *tasks.Registry
	// Route tells the options of a task that is sent without saying where to
	// (task_routes). Nil: none.
	Route func(task string) canvas.Options
	// Destination tells the exchange and routing key of a queue (task_queues), as Queue of
	// [canvas.Environment]. Nil: the default exchange, with the queue's name.
	Destination func(queue string) canvas.Destination
	// ErrbacksOnHeader links a chord's errbacks to the tasks of its header, too
	// (task_allow_error_cb_on_chord_header).
	ErrbacksOnHeader bool
	// Serializer and Compression are Celery's task_serializer ("json", "yaml", "msgpack",
	// "pickle") and task_compression ("zlib", "bzip2", "lzma", "zstd", "brotli"). The
	// workers must accept them. Default: JSON that is not compressed.
	Serializer, Compression string
	// Signed is what tasks are written in instead, where they are signed: package protocol/serializer's Signed. nil: they are not.
	Signed protocol.Serializer
	// NoRetry gives up when publishing fails, where a call has no retry option
	// (task_publish_retry = False). A connection that breaks meanwhile is waited for all the
	// same, until ctx is done: only then is it known whether it has failed.
	NoRetry bool
	// RetryPolicy is how often and how fast publishing is tried again
	// (task_publish_retry_policy). Default: three times, after 0, 0.2 and 0.4 seconds.
	RetryPolicy *broker.RetryPolicy
	// TaskSent makes the event that is published along with a task, as events.Producer does
	// (task_send_sent_event). Nil: none.
	TaskSent func(task *protocol.Task) broker.Publication
	// BeforePublish and AfterPublish are called with each task that is sent, in the caller's
	// goroutine: Celery's before_task_publish and after_task_publish, and what tasks.Hooks has
	// for what a worker publishes. The first may change the task, its headers for example.
	// The second is called when all messages of a call are out. Nil: none.
	BeforePublish, AfterPublish func(ctx context.Context, task *protocol.Task)
	// Origin says who sends, in a header. Default: gen<pid>@<host>.
	Origin string
}

// Client sends tasks and reads their results. It is safe for concurrent use.
type Client struct {
	cfg         Config
	maker       *publish.Maker
	backend     publish.Backend
	broadcaster broker.Broadcaster // nil: the broker cannot
	mailbox     backend.Mailbox    // nil: results are looked up
}

// New returns a client. It connects to nothing by itself.
func New(cfg Config) (*Client, error) {
	if cfg.Publisher == nil {
		return nil, errors.New("client: Publisher is required")
	}
	if cfg.Queue == "" {
		cfg.Queue = DefaultQueue
	}
	if cfg.RetryPolicy == nil {
		policy := broker.DefaultRetryPolicy()
		cfg.RetryPolicy = &policy
	}
	if cfg.Origin == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		cfg.Origin = fmt.Sprintf("gen%d@%s", os.Getpid(), host)
	}
	able := backend.AbilitiesOf(cfg.Loader)
	env := canvas.Environment{
		Origin: cfg.Origin, Route: cfg.Route, Queue: cfg.Destination, DefaultQueue: cfg.Queue, ErrbacksOnHeader: cfg.ErrbacksOnHeader,
		Chords: publish.Keeping(able),
	}
	if able.Mailbox != nil {
		env.ReplyTo = able.Mailbox.ReplyTo()
	}
	maker, err := publish.NewMaker(publish.Config{
		Environment: env, Serializer: cfg.Serializer, Signed: cfg.Signed, Compression: cfg.Compression, Event: cfg.TaskSent,
	})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c := &Client{cfg: cfg, maker: maker, backend: publish.BackendOf(able), mailbox: able.Mailbox}
	c.tellOf(cfg.Registry)
	c.broadcaster = broker.PublisherAbilitiesOf(cfg.Publisher).Broadcaster
	return c, nil
}

// Knowing returns a client that knows the tasks of a registry, as with Config.Registry, and
// shares everything else with c:
//
//	shop, err := app.Open(ctx, conf)
//	c := shop.Knowing(reg)
func (c *Client) Knowing(reg *tasks.Registry) *Client {
	knowing := *c
	knowing.tellOf(reg)
	return &knowing
}

// tellOf has the hooks of a registry told of what is sent, after those of the configuration.
func (c *Client) tellOf(reg *tasks.Registry) {
	c.cfg.Registry = reg
	c.maker = c.maker.Telling(func(ctx context.Context, task *protocol.Task) {
		tell(ctx, task, c.cfg.BeforePublish, reg, func(h *tasks.Hooks) hook { return h.BeforePublish })
	})
}

// published is told of what was sent.
func (c *Client) published(ctx context.Context, task *protocol.Task) {
	tell(ctx, task, c.cfg.AfterPublish, c.cfg.Registry, func(h *tasks.Hooks) hook { return h.AfterPublish })
}

type hook = func(ctx context.Context, task *protocol.Task)

// tell calls the client's own hook and those of its registry.
func tell(ctx context.Context, task *protocol.Task, own hook, reg *tasks.Registry, which func(*tasks.Hooks) hook) {
	if own != nil {
		own(ctx, task)
	}
	if reg == nil {
		return
	}
	for _, hooks := range reg.Hooks() {
		if call := which(&hooks); call != nil {
			call(ctx, task)
		}
	}
}

// environment is what this client contributes to what it sends now.
func (c *Client) environment() canvas.Environment {
	env := c.maker.Environment()
	if known := c.cfg.Registry; known != nil {
		env.Task, env.Check = known.Publishing, known.CheckCall
	}
	return env
}

// Delay sends a task with positional arguments, like Python's task.delay. Args are
// values that pyjson can write.
func (c *Client) Delay(ctx context.Context, task string, args ...any) (*AsyncResult, error) {
	return c.Send(ctx, canvas.Sig(task, args...))
}

// Send sends a signature, or a whole canvas, with the options of Python's apply_async,
// which override its own. It returns once the broker has the messages; of a chain or
// chord it returns the result of the last task.
func (c *Client) Send(ctx context.Context, sig canvas.Signature, opts ...canvas.Option) (*AsyncResult, error) {
	plan, err := canvas.Apply(sig, nil, opts, c.environment())
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	results, err := c.carryOut(ctx, plan)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// SendAll sends signatures in the given order. Up to 16 MiB of messages go out in a single
// round trip, all or none; more go out in portions of that size.
func (c *Client) SendAll(ctx context.Context, sigs ...canvas.Signature) ([]*AsyncResult, error) {
	plans := make([]*canvas.Plan, len(sigs))
	for i, sig := range sigs {
		var err error
		if plans[i], err = canvas.Apply(sig, nil, nil, c.environment()); err != nil {
			return nil, fmt.Errorf("client: signature %d: %w", i+1, err)
		}
	}
	return c.carryOut(ctx, plans...)
}

// Result returns the result of a task that was sent elsewhere, by its id. With rpc://, as in Celery, results come only to the
// client that has sent the task: of another's task nothing is ever known here, so Get waits until its context is done, and
// its error says so.
func (c *Client) Result(id string) *AsyncResult { return &AsyncResult{ID: id, client: c} }
