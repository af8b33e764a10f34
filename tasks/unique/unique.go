// Package unique keeps a task from being queued, or from running, more than once at a time: the first one takes a lock in
// Redis, by its name and arguments, and others like it are dropped until that is free again.
//
//	locks, err := unique.Open("redis://localhost:6379/0")
//	locks.Task("shop.tasks.price", unique.Options{For: time.Hour})
//
//	result, sent, err := locks.Send(ctx, client, canvas.Sig("shop.tasks.price", "tea")) // where it is sent
//	reg.Connect(locks.Hooks())                                                          // where it runs
//
// Locks are those of celery-singleton: the same keys, with the task's id as their value. So a producer in Python whose task
// has Singleton as its base, and one in Go, share them, wherever the task runs.
//
// A lock is its task's: only the task with that id gives it up, when it has succeeded, failed, or was revoked, has expired
// or cannot be run. A task that is tried again keeps it. Whatever happens, it lasts no longer than Options.For: a crash
// blocks nobody for longer. So For is to be longer than a task waits and runs, the countdown of a retry included. A task that
// rejects its message keeps its lock until then, too.
//
// Where producers are not to be touched, [Locks.RunOnce] does it where the task runs.
package unique

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
)

// Options say what is locked, and for how long.
type Options struct {
	// For is how long a lock lasts, at most. Required.
	For time.Duration
	// Until says when it is given up before that. Default: End.
	Until Until
	// Key is the lock's key in Redis, which tasks that are alike have in common. It may look at a task's name and
	// arguments; these are JSON. Default: [SingletonKey].
	Key func(task *protocol.Task) string
	// Fail has RunOnce fail a task that does not run, with celery_singleton.exceptions.DuplicateTaskError, for those who wait
	// for its result. Default: it is ignored, as by tasks.Ignore, and its state stays PENDING.
	Fail bool
}

// Until says when a lock is given up.
type Until int

const (
	// End gives it up when the task has ended for good: none is queued while another is queued or runs.
	End Until = iota
	// Start gives it up when the task starts: one is queued while another runs.
	Start
	// Timeout keeps it until Options.For is over, whatever becomes of the task.
	Timeout
)

// Locks are the locks of tasks. They are safe for concurrent use, once all calls of Task are made.
type Locks struct {
	redis *redisconn.Pipeline
	tasks map[string]Options
}

// Open returns locks in a Redis, by its URL as broker_url has it: that of celery-singleton's singleton_backend_url, or what
// stands for it, to share locks with that. It does not wait for the connection.
func Open(url string) (*Locks, error) {
	cfg, err := redisconn.Parse(url, redisconn.Broker, redisconn.Options{})
	if err != nil {
		return nil, fmt.Errorf("unique: %w", err)
	}
	return &Locks{redis: redisconn.NewPipeline(cfg, redisconn.PipelineOptions{}), tasks: map[string]Options{}}, nil
}

// Close ends the connection. Locks stay.
func (l *Locks) Close() error { return l.redis.Close() }

// Task has a task locked. It panics where For is not positive. To be called before anything is sent, or a worker starts.
func (l *Locks) Task(name string, o Options) {
	if o.For <= 0 {
		panic(fmt.Sprintf("unique: Task(%q): For must be positive, not %v", name, o.For))
	}
	if o.Key == nil {
		o.Key = SingletonKey
	}
	l.tasks[name] = o
}

// redisWithin bounds how long a task waits for Redis.
const redisWithin = 5 * time.Second

var errNoHolder = errors.New("unique: Redis has neither taken the lock nor tells who has it")

// take takes a lock for a task, or returns the id of the task that has it.
func (l *Locks) take(ctx context.Context, key, id string, lasts time.Duration) (holder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisWithin)
	defer cancel()
	reply, err := l.redis.Script(ctx, takeScript, key, id, max(lasts.Milliseconds(), 1))
	if err != nil {
		return "", fmt.Errorf("unique: take the lock %s: %w", key, err)
	}
	text, ok := reply.([]byte)
	if !ok {
		return "", errNoHolder
	}
	return string(text), nil
}

// takeScript returns who has the lock then. Whose it is already has it for the whole time again.
var takeScript = redisconn.NewScript(1, `
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
	return ARGV[1]
end
return holder`)

// release gives up a lock, if it is a task's.
func (l *Locks) release(ctx context.Context, key, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisWithin)
	defer cancel()
	_, err := l.redis.Script(ctx, releaseScript, key, id)
	return err
}

var releaseScript = redisconn.NewScript(1, `
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('DEL', KEYS[1])
end
return 0`)
