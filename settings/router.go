package settings

import (
	"cmp"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
)

// Router is what task_routes, task_queues and task_default_delivery_mode say to package canvas,
// which decides where messages go. It is safe for concurrent use.
type Router struct {
	routes *matcher
	queues *Queues
	mode   int // of what goes to a queue that does not say its own

	byDefault string // queue
}

// Router returns the router of these settings; later changes have no effect on it.
func (s *Settings) Router() *Router {
	return &Router{routes: s.TaskRoutes.matcher(), queues: s.Queues(), mode: s.TaskDefaultDeliveryMode, byDefault: s.TaskDefaultQueue}
}

// Route returns the options that the first route gives which knows a task, for
// [canvas.Environment].
func (r *Router) Route(task string) canvas.Options {
	route, _ := r.routes.lookup(task)
	if queue, err := r.queues.Get(route.Queue); route.Queue != "" && err == nil {
		route.Queue = queue.Name // not its alias
	}
	return route.options()
}

// Queue returns the queue that a task goes to if its sender names none; "" if its route leads to an exchange.
func (r *Router) Queue(task string) string {
	route, _ := r.routes.lookup(task)
	if route.Queue == "" && (route.Exchange != "" || route.RoutingKey != "") {
		return ""
	}
	name := cmp.Or(route.Queue, r.byDefault)
	if queue, err := r.queues.Get(name); err == nil {
		return queue.Name
	}
	return name
}

// Destination tells where what is sent to a queue goes, given its name or alias, for
// [canvas.Environment]; "" is no queue. It has an error when the queue is not declared and
// task_create_missing_queues is off.
func (r *Router) Destination(name string) canvas.Destination {
	if name == "" {
		return canvas.Destination{DeliveryMode: r.mode}
	}
	queue, err := r.queues.Get(name)
	if err != nil {
		return canvas.Destination{Err: err}
	}
	return canvas.Destination{
		Queue: queue.Name, Exchange: queue.Exchange, ExchangeType: queue.ExchangeType, RoutingKey: queue.RoutingKey,
		DeliveryMode: cmp.Or(queue.DeliveryMode, r.mode),
	}
}

// options are the route as canvas takes it.
func (r *Route) options() canvas.Options {
	var o canvas.Options
	for _, opt := range []struct{ name, value string }{
		{"queue", r.Queue},
		{"exchange", r.Exchange},
		{"exchange_type", r.ExchangeType},
		{"routing_key", r.RoutingKey},
		{"serializer", r.Serializer},
		{"compression", r.Compression},
	} {
		if opt.value != "" {
			o = append(o, canvas.Opt(opt.name, opt.value))
		}
	}
	if r.Priority != nil {
		o = append(o, canvas.Priority(*r.Priority))
	}
	if r.DeliveryMode != 0 {
		o = append(o, canvas.Opt("delivery_mode", r.DeliveryMode))
	}
	if r.Retry != nil {
		o = append(o, canvas.Opt("retry", *r.Retry))
	}
	if p := r.RetryPolicy; p != nil {
		policy := map[string]any{
			"max_retries": p.MaxRetries, "interval_start": p.IntervalStart.Seconds(),
			"interval_step": p.IntervalStep.Seconds(), "interval_max": p.IntervalMax.Seconds(),
		}
		if p.MaxRetries < 0 {
			policy["max_retries"] = nil
		}
		o = append(o, canvas.Opt("retry_policy", policy))
	}
	return o
}

// policy is a RetryPolicy that may be missing.
type policy struct{ dst **RetryPolicy }

func (p policy) decode(d *decoder, value any) {
	if *p.dst = nil; value != nil {
		policy := broker.DefaultRetryPolicy()
		*p.dst = &policy
		retryPolicy{&policy}.members(d, value)
	}
}

func (p policy) encode() any {
	if *p.dst == nil {
		return absent{}
	}
	return retryPolicy{*p.dst}.encode()
}
