package tasks

import (
	"slices"
	"time"

	"github.com/apium/apium/protocol/canvas"
)

// The options of this file hold for messages of the task that Go publishes: a worker that has it
// registered, a client that knows the registry, and the Delay of a definition. As with the
// attributes of a task in Python, what a call or a signature says counts first, then these, and
// then task_routes. They do not concern messages that Python publishes, nor retries, which go
// where the message came from.

// PublishingOption is an option with which a task is published: whenever Go does, or as a periodic task.
type PublishingOption interface {
	Option
	PeriodicOption
}

// Queue is the queue that the task is published to.
func Queue(name string) PublishingOption { return Publishing(canvas.Queue(name)) }

// RoutingKey is the routing key that the task is published with. Without an exchange that is not
// direct it means nothing.
func RoutingKey(key string) PublishingOption { return Publishing(canvas.RoutingKey(key)) }

// Priority is the priority that the task is published with, 0 (most urgent on Redis) to 9.
func Priority(p int) PublishingOption { return Publishing(canvas.Priority(p)) }

// Expires says not to run the task later than d after it is published.
func Expires(d time.Duration) PublishingOption { return Publishing(canvas.Expires(d)) }

// Serializer is the serializer that the task is published in: json, yaml, msgpack or pickle.
func Serializer(name string) PublishingOption { return Publishing(canvas.Serializer(name)) }

// Compression is the compression that the task is published in, such as zlib or zstd.
func Compression(name string) PublishingOption { return Publishing(canvas.Compression(name)) }

// Publishing is any options that the task is published with, such as canvas.Exchange.
func Publishing(opts ...canvas.Option) PublishingOption {
	return publishingOption(opts)
}

type publishingOption canvas.Options

func (p publishingOption) setTask(o *Options) {
	o.Publishing = slices.Concat(o.Publishing, canvas.Options(p))
}

func (p publishingOption) setPeriodic(to *Periodic) { to.Signature = to.Signature.Set(p...) }

// published are the options of what is published of the task.
func (o *Options) published() canvas.Options {
	if o.IgnoreResult == nil {
		return o.Publishing
	}
	return slices.Concat(canvas.Options{canvas.IgnoreResult(*o.IgnoreResult)}, o.Publishing)
}

// Publishing returns the options with which a task is published, and whether it is registered.
func (r *Registry) Publishing(name string) (opts canvas.Options, registered bool) {
	entry, ok := r.Lookup(name)
	if !ok {
		return nil, false
	}
	return entry.Options.published(), true
}
