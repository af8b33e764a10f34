package app

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/apium/apium/python"
	"github.com/apium/apium/worker"
)

// Options say of a worker what Celery's settings do not: the options of `celery worker` that
// have no setting, and what it shares with the program around it. The zero value is a worker
// as `celery worker` starts it.
type Options struct {
	// Hostname is the node name: "celery@web1", or "w1@%h", where %h is the full host name, %n
	// its first part and %d its domain. Workers of one broker need different ones. Default:
	// celery@%h.
	Hostname string
	// Queues are what to consume, by name or alias, in this order. Default: task_queues, or
	// task_default_queue where there are none; with a Python app, what that consumes.
	Queues []string
	// ExcludeQueues are queues not to consume.
	ExcludeQueues []string
	// Python is the Celery app whose tasks the worker runs in child processes, as many as
	// worker_concurrency says. A Go handler comes before a task of the same name. Nil: none.
	Python *python.App
	// IgnorePythonHooks runs an app without what it hangs in Celery's MainProcess and nothing can
	// stand in for, such as a Consumer of its own. Else that is an error.
	IgnorePythonHooks bool
	// GoConcurrency is how many Go handlers run at the same time beside these children. Default:
	// worker_concurrency.
	GoConcurrency int
	// Autoscale has the number of slots follow the load. Zero: it stays at worker_concurrency.
	Autoscale worker.Autoscale
	// Purge drops what waits in the queues before the worker consumes them, and is told how
	// many messages that were, if there were any. Nil: nothing is dropped.
	Purge func(messages int)

	// Beat has the worker send periodic tasks as well. Any number of workers may: each run is sent once. Its
	// Hostname, Registerer and Logger are of no effect, and its Registry is the worker's by default. Nil: it does not.
	Beat *BeatOptions

	// WithoutHeartbeat does not tell monitors that the worker lives.
	WithoutHeartbeat bool
	// WithoutMingle does not exchange revoked tasks with other workers at the start.
	WithoutMingle bool
	// WithoutGossip does not listen to other workers.
	WithoutGossip bool
	// HeartbeatInterval is the time between two heartbeats. Default 2 s.
	HeartbeatInterval time.Duration
	// Shown are the settings that remote control shows, with Celery's defaults or without. Nil:
	// those that conf says.
	Shown func(withDefaults bool) map[string]any

	// Logger gets Celery's log lines. The attribute "event" says the same in constant words;
	// others hold what varies. Default: slog.Default().
	Logger *slog.Logger
	// Observers are told each step of each task.
	Observers []worker.Observer
	// Registerer is where the worker's metrics are registered while it runs; two workers need
	// two, or labels that tell them apart (prometheus.WrapRegistererWith). If it is a
	// prometheus.Gatherer, too, as a *prometheus.Registry is, Worker.Handler serves it at
	// /metrics. Nil: there are no metrics, unless apium_metrics_addr says where to serve them.
	Registerer prometheus.Registerer
}
