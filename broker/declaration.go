package broker

import "maps"

// Declaration says how a broker that has queues, exchanges and bindings as things of its own is told
// of a queue: what kombu's Queue and Exchange hold beside names. The zero value is what Celery makes
// of a plain name. Redis heeds none of it.
//
// Arguments have texts, bools, int64, float64, nil, []any and map[string]any as values.
type Declaration struct {
	Skip       bool // no_declare: neither the queue nor what it is bound to is declared
	Transient  bool // not durable: it does not outlive the broker
	Exclusive  bool // of its connection alone; then it is AutoDelete, too
	AutoDelete bool // it goes with its last consumer

	Arguments         map[string]any // x-queue-type, x-max-priority and the like, also those that kombu makes of expires, max_length …
	BindingArguments  map[string]any
	ConsumerArguments map[string]any // such as x-priority

	Exchange ExchangeDeclaration // of Queue.Exchange
}

// ExchangeDeclaration says how an exchange is declared.
type ExchangeDeclaration struct {
	Skip       bool // no_declare
	Transient  bool // not durable
	AutoDelete bool // it goes with its last binding
	Arguments  map[string]any
}

// QueueType is what x-queue-type says: quorum, say; "" leaves it to the broker.
func (d *Declaration) QueueType() string {
	text, _ := d.Arguments["x-queue-type"].(string)
	return text
}

// SetArgument sets an argument of the queue. Who else has the same map does not see it.
func (d *Declaration) SetArgument(name string, value any) {
	arguments := maps.Clone(d.Arguments)
	if arguments == nil {
		arguments = map[string]any{}
	}
	arguments[name] = value
	d.Arguments = arguments
}
