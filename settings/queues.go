package settings

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/nearest"
)

// Queue is a queue of task_queues, as kombu's Queue.
type Queue = broker.Queue

func queueFields(q *Queue) map[string]any {
	fields := map[string]any{
		"name":          &q.Name,
		"exchange":      &q.Exchange,
		"exchange_type": oneOf{&q.ExchangeType, exchangeTypes},
		"routing_key":   &q.RoutingKey,
		"binding_key":   synonym{&q.RoutingKey},
		"alias":         &q.Alias,
		"delivery_mode": deliveryMode{&q.DeliveryMode},
		"no_ack":        noAck{},
		"broadcast":     &q.Broadcast,
		"bindings":      bindings{&q.Bindings},
	}
	for _, name := range []string{ // for RabbitMQ's declarations
		"queue_arguments", "binding_arguments", "consumer_arguments", "exchange_arguments", "durable", "queue_durable",
		"exchange_durable", "auto_delete", "queue_auto_delete", "exchange_auto_delete", "exclusive", "no_declare", "expires",
		"message_ttl", "max_length", "max_length_bytes", "max_priority",
	} {
		fields[name] = nothing{}
	}
	return fields
}

type bindings struct{ dst *[]broker.Source }

func (b bindings) decode(d *decoder, value any) {
	*b.dst = nil
	each(d, value, func(v any) {
		if o, ok := d.object(v); ok {
			var one broker.Source
			d.members(o, bindingFields(&one))
			if one.Exchange == "" {
				d.bad("a binding needs an exchange")
			}
			*b.dst = append(*b.dst, one)
		}
	})
	// kombu reads such a queue only as the fanout's: what others send to it stays there for ever.
	if len(*b.dst) > 1 && slices.ContainsFunc(*b.dst, func(one broker.Source) bool { return one.ExchangeType == "fanout" }) {
		d.bad("a queue of a fanout exchange has no other bindings")
	}
}

func (b bindings) encode() any {
	if len(*b.dst) == 0 {
		return absent{}
	}
	list := make([]any, len(*b.dst))
	for i := range *b.dst {
		list[i] = encodeMembers(bindingFields(&(*b.dst)[i]))
	}
	return list
}

func bindingFields(b *broker.Source) map[string]any {
	return map[string]any{
		"exchange": &b.Exchange, "exchange_type": oneOf{&b.ExchangeType, exchangeTypes}, "routing_key": &b.RoutingKey,
		"arguments": nothing{}, "unbind_arguments": nothing{},
	}
}

// noAck would lose what a worker that dies is running.
type noAck struct{}

func (noAck) decode(d *decoder, value any) {
	var set bool
	if d.assign(&set, value); set {
		d.warn("has no effect: messages are always acknowledged, so that none is lost")
	}
}

func (noAck) encode() any { return absent{} }

// queueList is task_queues: a list, or a mapping of names. In the mapping, as in
// Celery, a queue's routing key is its name unless it is given.
type queueList struct{ dst *[]Queue }

func (l queueList) decode(d *decoder, value any) {
	*l.dst = nil
	byName, ok := value.(object)
	if !ok {
		each(d, value, func(v any) { l.add(d, "", v) })
		return
	}
	for _, m := range byName {
		d.in(m.key, func() { l.add(d, m.key, m.value) })
	}
}

func (l queueList) encode() any {
	if *l.dst == nil {
		return absent{}
	}
	list := make([]any, len(*l.dst))
	for i := range *l.dst {
		list[i] = encodeMembers(queueFields(&(*l.dst)[i]))
	}
	return list
}

func (l queueList) add(d *decoder, name string, value any) {
	q := Queue{Name: name}
	if text, ok := value.(string); ok && name == "" {
		q.Name = text
	} else if o, ok := d.object(value); ok {
		d.members(o, queueFields(&q))
		if !o.has("delivery_mode") {
			q.DeliveryMode = 0
		}
	} else {
		return
	}
	switch {
	case q.Name == "":
		d.bad("a queue needs a name")
		return
	case name != "" && q.Name != name:
		d.bad("the queue's name is '%s'", q.Name)
		return
	case name != "" && q.RoutingKey == "":
		q.RoutingKey = name
	}
	for i, other := range *l.dst {
		switch {
		case other.Name == q.Name: // the later one counts, as in Celery
			d.warn("replaces what was said about the queue '%s' before", q.Name)
			(*l.dst)[i] = q
			return
		case q.Alias != "" && (other.Alias == q.Alias || other.Name == q.Alias), other.Alias == q.Name:
			d.bad("the queues '%s' and '%s' share a name", other.Name, q.Name)
			return
		}
	}
	*l.dst = append(*l.dst, q)
}

// Queues is the table of queues, with Celery's defaults filled in.
type Queues struct {
	declared      []Queue
	createMissing bool
	missingType   string
}

// Queues returns what task_queues and its companions say. Without task_queues there
// is one queue, task_default_queue.
func (s *Settings) Queues() *Queues {
	qs := &Queues{createMissing: s.TaskCreateMissingQueues, missingType: s.TaskCreateMissingQueueExchangeType}
	exchange := cmp.Or(s.TaskDefaultExchange, s.TaskDefaultQueue)
	key := cmp.Or(s.TaskDefaultRoutingKey, s.TaskDefaultQueue)
	for _, q := range s.TaskQueues {
		switch {
		case q.Broadcast: // as kombu's: an exchange of its own
			q.Exchange, q.ExchangeType = cmp.Or(q.Exchange, q.Name), "fanout"
		case q.Exchange == "":
			q.Exchange, q.ExchangeType = exchange, s.TaskDefaultExchangeType
		}
		if len(q.Bindings) == 1 && q.Bindings[0].ExchangeType == "fanout" {
			b := q.Bindings[0]
			q.Exchange, q.ExchangeType, q.RoutingKey, q.Bindings = b.Exchange, b.ExchangeType, b.RoutingKey, nil
		} else {
			q.RoutingKey = cmp.Or(q.RoutingKey, key)
		}
		q.ExchangeType = cmp.Or(q.ExchangeType, "direct")
		qs.declared = append(qs.declared, q)
	}
	if len(qs.declared) == 0 && s.TaskDefaultQueue != "" {
		qs.declared = []Queue{{Name: s.TaskDefaultQueue, Exchange: exchange, ExchangeType: s.TaskDefaultExchangeType, RoutingKey: key}}
	}
	return qs
}

// All returns the declared queues, in order: what a worker consumes from without -Q.
func (qs *Queues) All() []Queue { return slices.Clone(qs.declared) }

// Get returns a queue by its name or alias. One that is not declared is made up, as
// Celery does, unless task_create_missing_queues is off.
func (qs *Queues) Get(name string) (Queue, error) {
	for _, q := range qs.declared {
		if q.Alias == name {
			return q, nil
		}
	}
	for _, q := range qs.declared {
		if q.Name == name {
			return q, nil
		}
	}
	if !qs.createMissing {
		near := ""
		if n := nearest.Name(name, qs.names()); n != "" {
			near = ". Did you mean '" + n + "'?"
		}
		return Queue{}, fmt.Errorf("queue '%s' missing from task_queues%s", name, near)
	}
	return Queue{Name: name, Exchange: name, ExchangeType: cmp.Or(qs.missingType, "direct"), RoutingKey: name}, nil
}

// Select returns the queues to consume from: those of -Q, or all if it is empty,
// without those of -X.
func (qs *Queues) Select(include, exclude []string) ([]Queue, error) {
	selected := qs.All()
	if len(include) > 0 {
		selected = nil
		for _, name := range include {
			q, err := qs.Get(name)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(selected, func(s Queue) bool { return s.Name == q.Name }) {
				selected = append(selected, q)
			}
		}
	}
	return slices.DeleteFunc(selected, func(q Queue) bool {
		return slices.Contains(exclude, q.Name) || q.Alias != "" && slices.Contains(exclude, q.Alias)
	}), nil
}

// DirectQueue is the queue of a worker's own that worker_direct stands for.
func DirectQueue(hostname string) Queue {
	return Queue{Name: hostname + ".dq2", Exchange: "C.dq2", ExchangeType: "direct", RoutingKey: hostname}
}

func (qs *Queues) names() []string {
	var names []string
	for _, q := range qs.declared {
		names = append(names, q.Name)
		if q.Alias != "" {
			names = append(names, q.Alias)
		}
	}
	return names
}
