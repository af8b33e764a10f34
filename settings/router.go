package settings

import (
	"cmp"
	"fmt"
)

// policy is a RetryPolicy that may be missing.
type policy struct{ dst **RetryPolicy }

func (p policy) decode(d *decoder, value any) {
	if *p.dst = nil; value != nil {
		*p.dst = &RetryPolicy{}
		retryPolicy{*p.dst}.decode(d, value)
	}
}

func (p policy) encode() any {
	if *p.dst == nil {
		return absent{}
	}
	return retryPolicy{*p.dst}.encode()
}

// over returns the options of r with what p gives, which wins.
func (r *Route) over(p Route) Route {
	merged := Route{
		Queue:        cmp.Or(p.Queue, r.Queue),
		Exchange:     cmp.Or(p.Exchange, r.Exchange),
		ExchangeType: cmp.Or(p.ExchangeType, r.ExchangeType),
		RoutingKey:   cmp.Or(p.RoutingKey, r.RoutingKey),
		Priority:     p.Priority,
		DeliveryMode: p.DeliveryMode,
		Serializer:   cmp.Or(p.Serializer, r.Serializer),
		Compression:  cmp.Or(p.Compression, r.Compression),
		Retry:        p.Retry,
		RetryPolicy:  p.RetryPolicy,
	}
	if merged.Priority == nil {
		merged.Priority = r.Priority
	}
	if merged.DeliveryMode == 0 {
		merged.DeliveryMode = r.DeliveryMode
	}
	if merged.Retry == nil {
		merged.Retry = r.Retry
	}
	if merged.RetryPolicy == nil {
		merged.RetryPolicy = r.RetryPolicy
	}
	return merged
}

// Router decides where a task's message is published.
type Router struct {
	routes   *matcher
	queues   *Queues
	defaults Settings
}

// Router returns the router for task_routes, task_queues and the defaults. It is safe
// for concurrent use.
func (s *Settings) Router() *Router {
	return &Router{routes: s.TaskRoutes.matcher(), queues: s.Queues(), defaults: *s}
}

// Lookup returns what the first route that knows a task says, and nothing else; the
// alias of a queue has become its name.
func (r *Router) Lookup(task string) Route {
	route, _ := r.routes.lookup(task)
	if queue, err := r.queues.Get(route.Queue); route.Queue != "" && err == nil {
		route.Queue = queue.Name
	}
	return route
}

// Route returns where the message of a task goes and how it is written: what the
// caller gave, else what the first route that knows the task says, else the defaults.
// Exchange "" is the default one, whose routing key is the queue's name. It fails when
// a queue is not declared and task_create_missing_queues is off.
//
// A task's own options count as given: in Celery they win over routes, and so does
// task_default_priority, for tasks that are registered where they are sent from.
func (r *Router) Route(task string, given Route) (Route, error) {
	route, _ := r.routes.lookup(task)
	options := route.over(given)
	if options.Queue == "" && (options.Exchange == "" || route == Route{}) {
		options.Queue = r.defaults.TaskDefaultQueue
	}
	if given.Queue != "" && route.Queue != "" { // Celery looks up both
		if _, err := r.queues.Get(route.Queue); err != nil {
			return options, fmt.Errorf("task %s: %w", task, err)
		}
	}
	var queue Queue
	if options.Queue != "" {
		var err error
		if queue, err = r.queues.Get(options.Queue); err != nil {
			return options, fmt.Errorf("task %s: %w", task, err)
		}
		options.Queue = queue.Name
	}
	options.ExchangeType = cmp.Or(options.ExchangeType, queue.ExchangeType, "direct")
	switch {
	case (options.Exchange == "" || options.RoutingKey == "") && options.ExchangeType == "direct":
		if options.Queue == "" {
			return options, fmt.Errorf("task %s: exchange '%s' without a queue or a routing key", task, options.Exchange)
		}
		options.Exchange, options.RoutingKey = "", options.Queue
	case options.Exchange == "":
		options.Exchange = queue.Exchange
		options.RoutingKey = cmp.Or(options.RoutingKey, queue.RoutingKey)
	}
	if options.DeliveryMode == 0 {
		options.DeliveryMode = queue.DeliveryMode
	}
	if options.DeliveryMode == 0 {
		options.DeliveryMode = r.defaults.TaskDefaultDeliveryMode
	}
	options.Serializer = cmp.Or(options.Serializer, r.defaults.TaskSerializer)
	options.Compression = cmp.Or(options.Compression, r.defaults.TaskCompression)
	return options, nil
}
