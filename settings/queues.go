package settings

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/nearest"
)

// Queue is a queue of task_queues, as kombu's Queue.
type Queue = broker.Queue

func queueFields(q *Queue, declared *declarationDoc) map[string]any {
	fields := declared.fields()
	maps.Copy(fields, map[string]any{
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
	})
	return fields
}

type bindings struct{ dst *[]broker.Source }

func (b bindings) decode(d *decoder, value any) {
	*b.dst = nil
	each(d, value, func(v any) {
		if o, ok := d.object(v); ok {
			var one broker.Source
			var durable *bool
			d.members(o, bindingFields(&one, &durable))
			one.Declaration.Transient = durable != nil && !*durable
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
		source := &(*b.dst)[i]
		var durable *bool
		if source.Declaration.Transient {
			durable = new(bool)
		}
		list[i] = encodeMembers(bindingFields(source, &durable))
	}
	return list
}

func bindingFields(b *broker.Source, durable **bool) map[string]any {
	return map[string]any{
		"exchange": &b.Exchange, "exchange_type": oneOf{&b.ExchangeType, exchangeTypes}, "routing_key": &b.RoutingKey,
		"arguments": arguments{&b.Arguments}, "unbind_arguments": nothing{},
		"exchange_durable": durable, "exchange_auto_delete": &b.Declaration.AutoDelete,
		"exchange_no_declare": &b.Declaration.Skip, "exchange_arguments": arguments{&b.Declaration.Arguments},
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
		q := &(*l.dst)[i]
		list[i] = encodeMembers(queueFields(q, documentOf(&q.Declaration)))
	}
	return list
}

func (l queueList) add(d *decoder, name string, value any) {
	q := Queue{Name: name}
	if text, ok := value.(string); ok && name == "" {
		q.Name = text
	} else if o, ok := d.object(value); ok {
		var declared declarationDoc
		d.members(o, queueFields(&q, &declared))
		if !o.has("delivery_mode") {
			q.DeliveryMode = 0
		}
		if q.Broadcast && declared.queueAutoDelete == nil && declared.autoDelete == nil {
			declared.queueAutoDelete = new(true)
		}
		q.Declaration = declared.declaration()
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
	declared         []Queue
	createMissing    bool
	missingType      string // of the exchange
	missingQueueType string
	maxPriority      *int
}

// Queues returns what task_queues and its companions say. Without task_queues there
// is one queue, task_default_queue.
func (s *Settings) Queues() *Queues {
	qs := &Queues{
		createMissing: s.TaskCreateMissingQueues, missingType: s.TaskCreateMissingQueueExchangeType,
		missingQueueType: s.TaskCreateMissingQueueType, maxPriority: s.TaskQueueMaxPriority,
	}
	exchange := cmp.Or(s.TaskDefaultExchange, s.TaskDefaultQueue)
	key := cmp.Or(s.TaskDefaultRoutingKey, s.TaskDefaultQueue)
	for _, q := range s.TaskQueues {
		switch {
		case q.Broadcast: // as kombu's: an exchange of its own
			q.Exchange, q.ExchangeType = cmp.Or(q.Exchange, q.Name), "fanout"
		case q.Exchange == "":
			q.Exchange, q.ExchangeType = exchange, s.TaskDefaultExchangeType
			q.Declaration.Exchange = broker.ExchangeDeclaration{} // what is said of another is not said of this one
		}
		if len(q.Bindings) == 1 && q.Bindings[0].ExchangeType == "fanout" {
			b := q.Bindings[0]
			q.Exchange, q.ExchangeType, q.RoutingKey, q.Bindings = b.Exchange, b.ExchangeType, b.RoutingKey, nil
			q.Declaration.Exchange, q.Declaration.BindingArguments = b.Declaration, b.Arguments
		} else {
			q.RoutingKey = cmp.Or(q.RoutingKey, key)
		}
		q.ExchangeType = cmp.Or(q.ExchangeType, "direct")
		qs.declared = append(qs.declared, qs.prioritized(q))
	}
	if len(qs.declared) == 0 && s.TaskDefaultQueue != "" {
		q := Queue{Name: s.TaskDefaultQueue, Exchange: exchange, ExchangeType: s.TaskDefaultExchangeType, RoutingKey: key}
		qs.declared = []Queue{qs.prioritized(ofType(q, s.TaskDefaultQueueType))}
	}
	return qs
}

// ofType is a queue of a type. Celery asks for no type where it is classic, so that RabbitMQ's default holds.
func ofType(q Queue, queueType string) Queue {
	if queueType == "quorum" {
		q.Declaration.SetArgument("x-queue-type", queueType)
	}
	return q
}

// prioritized is a queue with the highest priority of all, unless it has one of its own.
func (qs *Queues) prioritized(q Queue) Queue {
	if _, own := q.Declaration.Arguments["x-max-priority"]; qs.maxPriority != nil && !own {
		q.Declaration.SetArgument("x-max-priority", int64(*qs.maxPriority))
	}
	return q
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
	q := Queue{Name: name, Exchange: name, ExchangeType: cmp.Or(qs.missingType, "direct"), RoutingKey: name}
	return qs.prioritized(ofType(q, qs.missingQueueType)), nil
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

// Direct is the queue of a worker's own that worker_direct stands for.
func (qs *Queues) Direct(hostname string) Queue {
	return qs.prioritized(Queue{Name: hostname + ".dq2", Exchange: "C.dq2", ExchangeType: "direct", RoutingKey: hostname})
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
