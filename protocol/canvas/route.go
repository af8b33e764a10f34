package canvas

import (
	"cmp"
	"fmt"
)

// routed adds what the routing rules say (Router.route). What the call says itself
// counts, unless it is null.
func (p *planner) routed(name string, opts Options) Options {
	var route Options
	if p.env.Route != nil {
		route = p.env.Route(name)
	}
	if len(route) == 0 && opts.get("queue") == nil {
		route = Options{Queue(p.defaultQueue())}
	}
	if len(route) == 0 {
		return opts
	}
	if p.env.Queue != nil && opts.get("queue") != nil && route.get("queue") != nil { // Celery looks up both
		p.fail(p.env.Queue(route.text("queue")).Err)
	}
	return route.merged(opts.present())
}

func (p *planner) defaultQueue() string {
	if p.env.DefaultQueue != "" {
		return p.env.DefaultQueue
	}
	return "celery"
}

// setDestination finds exchange and routing key, as AMQP.send_task_message: what goes to a
// direct exchange goes to the default exchange, with the queue's name, unless the call
// names both exchange and routing key.
func (p *planner) setDestination(step *Publish, opts Options) {
	exchange, key, queue := opts.text("exchange"), opts.text("routing_key"), opts.text("queue")
	if queue == "" && exchange == "" {
		queue = p.defaultQueue()
	}
	var to Destination
	switch {
	case p.env.Queue == nil:
	case queue == "":
		to.DeliveryMode = p.env.Queue("").DeliveryMode
	default:
		to = p.env.Queue(queue)
		p.fail(to.Err)
		queue = cmp.Or(to.Queue, queue)
	}
	kind := cmp.Or(opts.text("exchange_type"), to.ExchangeType, "direct")
	switch direct := kind == "direct"; {
	case direct && (exchange == "" || key == ""):
		if queue == "" {
			p.fail(fmt.Errorf("exchange '%s' without a queue or a routing key", exchange))
		}
		exchange, key = "", queue
	case exchange == "":
		exchange = to.Exchange
		key = cmp.Or(key, to.RoutingKey)
	}
	step.Task.Exchange, step.Task.RoutingKey, step.ExchangeType = exchange, key, kind
	if step.Publication.DeliveryMode == 0 {
		step.Publication.DeliveryMode = to.DeliveryMode
	}
}
