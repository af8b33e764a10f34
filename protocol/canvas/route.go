package canvas

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
	if queue == "" {
		queue = p.defaultQueue()
	}
	var to Destination
	if p.env.Queue != nil {
		to = p.env.Queue(queue)
		p.fail(to.Err)
	}
	kind := opts.text("exchange_type")
	if kind == "" {
		kind = to.ExchangeType
	}
	switch direct := kind == "" || kind == "direct"; {
	case direct && (exchange == "" || key == ""):
		exchange, key = "", queue
	case exchange == "":
		exchange = to.Exchange
		if key == "" {
			key = to.RoutingKey
		}
	}
	step.Task.Exchange, step.Task.RoutingKey, step.ExchangeType = exchange, key, kind
}
