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
	router := conf.Router()
	cfg.Route, cfg.Destination = router.Route, router.Destination
	return cfg
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
