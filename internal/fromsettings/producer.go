package fromsettings

import (
	"github.com/apium/apium/client"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

// Producer is what the settings say to a client. What connects it is left to the caller.
func Producer(conf *settings.Settings) client.Config {
	policy := conf.TaskPublishRetryPolicy
	cfg := client.Config{
		Queue:            conf.TaskDefaultQueue,
		Serializer:       conf.TaskSerializer,
		Compression:      conf.TaskCompression,
		ErrbacksOnHeader: conf.TaskAllowErrorCbOnChordHeader,
		NoRetry:          !conf.TaskPublishRetry,
		RetryPolicy:      &policy,
	}
	if conf.TaskSendSentEvent {
		cfg.TaskSent = events.NewProducer(conf.EventExchange).TaskSent
	}
	cfg.Route, cfg.Destination = Routing(conf)
	return cfg
}

// Routing is what task_routes and task_queues say.
func Routing(conf *settings.Settings) (route func(task string) canvas.Options, to func(queue string) canvas.Destination) {
	router, queues := conf.Router(), conf.Queues()
	route = func(task string) canvas.Options { return routeOptions(router.Lookup(task)) }
	to = func(name string) canvas.Destination {
		queue, err := queues.Get(name)
		if err != nil {
			return canvas.Destination{Err: err}
		}
		return canvas.Destination{Exchange: queue.Exchange, ExchangeType: queue.ExchangeType, RoutingKey: queue.RoutingKey}
	}
	return route, to
}

// publishing is what an annotation says about publishing a task that is registered.
func publishing(a *settings.Annotation) canvas.Options {
	var o canvas.Options
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
func routeOptions(route settings.Route) canvas.Options {
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
