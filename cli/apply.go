package cli

import (
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/canvas"
	"github.com/apium/apium/client"
	"github.com/apium/apium/events"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// This file turns Celery's settings into the configurations of our packages. Flags
// come after it and win. What it leaves out must stand in unheeded.go.

// applyWorker is everything about the worker that needs no registry.
func applyWorker(cfg *worker.Config, conf *settings.Settings) {
	cfg.Concurrency = conf.WorkerConcurrency
	switch {
	case conf.WorkerDisablePrefetch:
		cfg.PrefetchMultiplier = 1
	case conf.WorkerPrefetchMultiplier == 0:
		cfg.PrefetchMultiplier = worker.UnlimitedPrefetch
	case conf.IsSet("worker_prefetch_multiplier"): // otherwise the worker adapts it
		cfg.PrefetchMultiplier = conf.WorkerPrefetchMultiplier
	}
	cfg.AcceptContent = conf.AcceptContent
	cfg.Location = conf.Location()
	cfg.Defaults, cfg.Annotations = taskDefaults(conf), annotations(conf)
	cfg.DisableRateLimits = conf.WorkerDisableRateLimits
	cfg.ResultExtended = conf.ResultExtended
	cfg.InheritParentPriority = conf.TaskInheritParentPriority
	cfg.Deduplicate = conf.WorkerDeduplicateSuccessfulTasks
	cfg.StateDB = conf.WorkerStateDB
	cfg.ETATaskLimit = conf.WorkerETATaskLimit
	cfg.ShutdownTimeout = conf.ShutdownTimeout
	cfg.ParkAfter = conf.ParkAfter
	if cfg.MaxRedeliveries = conf.MaxRedeliveries; cfg.MaxRedeliveries == 0 {
		cfg.MaxRedeliveries = -1 // no limit
	}
	cfg.Unknown = unknownPolicy(conf.UnknownTask.Default)
	cfg.UnknownByQueue = map[string]worker.UnknownPolicy{}
	for queue, action := range conf.UnknownTask.Queues {
		cfg.UnknownByQueue[queue] = unknownPolicy(action)
	}
	cfg.SoftShutdownTimeout, cfg.SoftShutdownOnIdle = conf.WorkerSoftShutdownTimeout, conf.WorkerEnableSoftShutdownOnIdle
	cfg.ChordJoinTimeout, cfg.ChordRetryInterval = conf.ResultChordJoinTimeout, conf.ResultChordRetryInterval
	cfg.TaskSerializer, cfg.TaskCompression = conf.TaskSerializer, conf.TaskCompression
	cfg.ErrbacksOnHeader = conf.TaskAllowErrorCbOnChordHeader
	cfg.PublishOptions = publishing(conf)
	cfg.DefaultQueue = conf.TaskDefaultQueue
	cfg.Route, cfg.Destination = routing(conf)
}

// producerConfig is what the settings say to a client.
func producerConfig(conf *settings.Settings) client.Config {
	policy := client.RetryPolicy(conf.TaskPublishRetryPolicy)
	cfg := client.Config{
		Queue:            conf.TaskDefaultQueue,
		ErrbacksOnHeader: conf.TaskAllowErrorCbOnChordHeader,
		NoRetry:          !conf.TaskPublishRetry,
		RetryPolicy:      &policy,
	}
	if conf.TaskSendSentEvent {
		cfg.TaskSent = events.NewProducer(conf.EventExchange).TaskSent
	}
	cfg.Route, cfg.Destination = routing(conf)
	return cfg
}

// routing is what task_routes and task_queues say.
func routing(conf *settings.Settings) (route func(task string) canvas.Options, to func(queue string) canvas.Destination) {
	router, queues := conf.Router(), conf.Queues()
	route = func(task string) canvas.Options { return routeOptions(router.Lookup(task)) }
	to = func(name string) canvas.Destination {
		queue, err := queues.Get(name)
		if err != nil {
			return canvas.Destination{}
		}
		return canvas.Destination{Exchange: queue.Exchange, ExchangeType: queue.ExchangeType, RoutingKey: queue.RoutingKey}
	}
	return route, to
}

func unknownPolicy(u settings.UnknownTask) worker.UnknownPolicy {
	actions := map[settings.UnknownAction]worker.UnknownAction{
		settings.UnknownFail: worker.UnknownFail, settings.UnknownForward: worker.UnknownForward,
		settings.UnknownLeave: worker.UnknownLeave, settings.UnknownPark: worker.UnknownPark,
	}
	return worker.UnknownPolicy{Action: actions[u.Action], Queue: u.Queue}
}

// taskDefaults are the options of tasks that do not say otherwise.
func taskDefaults(conf *settings.Settings) tasks.Options {
	o := tasks.Options{
		AcksLate:                 &conf.TaskAcksLate,
		AcksOnFailure:            &conf.TaskAcksOnFailureOrTimeout,
		AcksOnTimeout:            &conf.TaskAcksOnFailureOrTimeout,
		RejectOnWorkerLost:       conf.TaskRejectOnWorkerLost,
		RetryOnWorkerLost:        &conf.TaskRetryOnWorkerLost,
		IgnoreResult:             &conf.TaskIgnoreResult,
		StoreErrorsEvenIfIgnored: &conf.TaskStoreErrorsEvenIfIgnored,
		TrackStarted:             &conf.TaskTrackStarted,
		TimeLimit:                &conf.TaskTimeLimit,
		SoftTimeLimit:            &conf.TaskSoftTimeLimit,
		RateLimit:                conf.TaskDefaultRateLimit,
	}
	if conf.TaskAcksOnFailure != nil {
		o.AcksOnFailure = conf.TaskAcksOnFailure
	}
	if conf.TaskAcksOnTimeout != nil {
		o.AcksOnTimeout = conf.TaskAcksOnTimeout
	}
	return o
}

// dropLateSoftLimit lifts a soft time limit that comes after the hard one, which a Python
// worker may have: package worker refuses it. It tells whether it did.
func dropLateSoftLimit(o *tasks.Options) bool {
	late := o.TimeLimit != nil && o.SoftTimeLimit != nil && *o.TimeLimit > 0 && *o.SoftTimeLimit > *o.TimeLimit
	if late {
		o.SoftTimeLimit = new(time.Duration)
	}
	return late
}

// annotations says what task_annotations comes to for the tasks it names, and for all
// others, those that every worker has among them.
func annotations(conf *settings.Settings) []map[string]tasks.Options {
	table := map[string]tasks.Options{}
	for _, name := range append(conf.TaskAnnotations.Tasks(), "*") {
		a := conf.TaskAnnotations.For(name)
		o := tasks.Options{ // acks_on_failure_or_timeout has no effect as an annotation, in Celery either
			AcksLate: a.AcksLate, AcksOnFailure: a.AcksOnFailure, AcksOnTimeout: a.AcksOnTimeout, RejectOnWorkerLost: a.RejectOnWorkerLost,
			RetryOnWorkerLost: a.RetryOnWorkerLost,
			IgnoreResult:      a.IgnoreResult, StoreErrorsEvenIfIgnored: a.StoreErrorsEvenIfIgnored, TrackStarted: a.TrackStarted,
			SendEvents: a.SendEvents, Trail: a.Trail, MaxRetries: a.MaxRetries, RetryDelay: a.DefaultRetryDelay,
			TimeLimit: a.TimeLimit, SoftTimeLimit: a.SoftTimeLimit, RateLimit: a.RateLimit,
		}
		dropLateSoftLimit(&o)
		table[name] = o
	}
	return []map[string]tasks.Options{table}
}

// publishing works publishOptions out once for each task that is annotated, and once for
// all others.
func publishing(conf *settings.Settings) func(task string) canvas.Options {
	named := map[string]canvas.Options{}
	for _, task := range conf.TaskAnnotations.Tasks() {
		named[task] = publishOptions(conf, task)
	}
	others := publishOptions(conf, "*")
	return func(task string) canvas.Options {
		if options, ok := named[task]; ok {
			return options
		}
		return others
	}
}

// publishOptions are what task_annotations and task_default_priority say about publishing
// a task that is registered.
func publishOptions(conf *settings.Settings, task string) canvas.Options {
	var o canvas.Options
	if conf.TaskDefaultPriority != nil {
		o = append(o, canvas.Priority(*conf.TaskDefaultPriority))
	}
	a := conf.TaskAnnotations.For(task)
	for _, opt := range []struct {
		name  string
		value *string
	}{
		{"queue", a.Queue},
		{"exchange", a.Exchange},
		{"routing_key", a.RoutingKey},
		{"serializer", a.Serializer},
		{"compression", a.Compression},
	} {
		if opt.value != nil {
			o = append(o, canvas.Opt(opt.name, *opt.value))
		}
	}
	if a.Priority != nil {
		o = append(o, canvas.Priority(*a.Priority))
	}
	if a.DeliveryMode != nil {
		o = append(o, canvas.Opt("delivery_mode", *a.DeliveryMode))
	}
	if a.Expires != nil {
		o = append(o, canvas.Expires(*a.Expires))
	}
	return o
}

// routeOptions are a route as canvas takes it.
func routeOptions(route settings.Options) canvas.Options {
	var o canvas.Options
	for _, opt := range []struct{ name, value string }{
		{"queue", route.Queue},
		{"exchange", route.Exchange},
		{"exchange_type", route.ExchangeType},
		{"routing_key", route.RoutingKey},
		{"serializer", route.Serializer},
		{"compression", route.Compression},
	} {
		if opt.value != "" {
			o = append(o, canvas.Opt(opt.name, opt.value))
		}
	}
	if route.Priority != nil {
		o = append(o, canvas.Priority(*route.Priority))
	}
	if route.DeliveryMode != 0 {
		o = append(o, canvas.Opt("delivery_mode", route.DeliveryMode))
	}
	return o
}

// consumerQueues are queues as the broker takes them.
func consumerQueues(queues []settings.Queue) []broker.Queue {
	out := make([]broker.Queue, len(queues))
	for i, q := range queues {
		out[i] = broker.Queue{
			Name: q.Name, Exchange: q.Exchange, ExchangeType: q.ExchangeType, RoutingKey: q.RoutingKey, Alias: q.Alias, AutoDelete: q.Broadcast,
		}
		for _, b := range q.Bindings {
			out[i].Bindings = append(out[i].Bindings, broker.Source(b))
		}
	}
	return out
}

// applyTransport is broker_transport_options.
func applyTransport(cfg *redisbroker.Config, o settings.TransportOptions) {
	cfg.VisibilityTimeout = o.VisibilityTimeout
	cfg.PrioritySteps = o.PrioritySteps
	cfg.Sep = o.Sep
	cfg.QueueOrderStrategy = o.QueueOrderStrategy
	cfg.GlobalKeyprefix = o.GlobalKeyprefix
	cfg.UnackedKey = o.UnackedKey
	cfg.UnackedIndexKey = o.UnackedIndexKey
	cfg.UnackedMutexKey = o.UnackedMutexKey
	cfg.UnackedMutexExpire = o.UnackedMutexExpire
	cfg.UnackedRestoreLimit = o.UnackedRestoreLimit
	cfg.UnackedRestoreInterval = o.UnackedRestoreInterval
	cfg.UnackedRestoreThrottle = o.UnackedRestoreThrottle
	cfg.PollingInterval = o.PollingInterval
	cfg.NoAckEmulation = o.NoAckEmulation
	cfg.NoFanoutPatterns = o.NoFanoutPatterns
	if o.FanoutPrefix != nil {
		cfg.FanoutPrefix, cfg.NoFanoutPrefix = *o.FanoutPrefix, *o.FanoutPrefix == ""
	}
}

// connectionOptions are what transport options say about connections.
func connectionOptions(o settings.ConnectionOptions, tls *settings.TLS) redisconn.Options {
	options := redisconn.Options{
		ReadTimeout:       o.SocketTimeout,
		ConnectTimeout:    o.SocketConnectTimeout,
		HealthCheck:       o.HealthCheckInterval,
		ClientName:        o.ClientName,
		Username:          o.Username,
		Password:          o.Password,
		MasterName:        o.MasterName,
		MinOtherSentinels: o.MinOtherSentinels,
		SentinelUsername:  o.SentinelUsername,
		SentinelPassword:  o.SentinelPassword,
	}
	if tls != nil {
		options.UseTLS = &redisconn.TLSOptions{
			CertReqs: tls.CertReqs, CACerts: tls.CACerts, CertFile: tls.CertFile, KeyFile: tls.KeyFile, CheckHostname: tls.CheckHostname,
		}
	}
	return options
}
