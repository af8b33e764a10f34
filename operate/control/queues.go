package control

import (
	"cmp"
	"context"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/tasks"
)

// addConsumer consumes a queue of task_queues, or one made up as Celery does. It is
// declared before the reply, where Celery's worker declares it after.
func (m *Mailbox) addConsumer(ctx context.Context, queue string, exchange, exchangeType, routingKey *string, _ others) (any, error) {
	var q broker.Queue
	found := false
	if m.cfg.Queue != nil {
		q, found = m.cfg.Queue(queue)
	}
	if !found {
		q = broker.Queue{Name: queue, Exchange: text(exchange), ExchangeType: text(exchangeType), RoutingKey: text(routingKey)}
		if q.Exchange != "" {
			q.RoutingKey = cmp.Or(q.RoutingKey, queue)
		}
	}
	if err := m.w.Operations().AddQueue(ctx, q); err != nil {
		return nil, tasks.Raise("ValueError", err.Error())
	}
	m.log.Info("Started consuming from "+queue, logline.EventKey, "Started consuming from a queue", "queue", queue)
	return succeeded("add consumer " + queue), nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (m *Mailbox) cancelConsumer(ctx context.Context, queue string, _ others) (any, error) {
	m.log.Info("Canceling queue "+queue, logline.EventKey, "Canceling a queue", "queue", queue)
	if err := m.w.Operations().CancelQueue(ctx, queue); err != nil {
		return nil, tasks.Raise("ValueError", err.Error())
	}
	return succeeded("no longer consuming from " + queue), nil
}

// queueInfo is how kombu tells of a queue (kombu/entity.py: Queue.as_dict). What expires, message_ttl and
// the other limits say is among the arguments here.
type queueInfo struct {
	Name              string        `json:"name"`
	Exchange          *exchangeInfo `json:"exchange"` // null if there are bindings
	RoutingKey        string        `json:"routing_key"`
	QueueArguments    any           `json:"queue_arguments"`
	BindingArguments  any           `json:"binding_arguments"`
	ConsumerArguments any           `json:"consumer_arguments"`
	Durable           bool          `json:"durable"`
	Exclusive         bool          `json:"exclusive"`
	AutoDelete        bool          `json:"auto_delete"`
	NoAck             bool          `json:"no_ack"`
	Alias             *string       `json:"alias"`
	Bindings          []bindingInfo `json:"bindings"`
	NoDeclare         any           `json:"no_declare"`
	Expires           any           `json:"expires"`
	MessageTTL        any           `json:"message_ttl"`
	MaxLength         any           `json:"max_length"`
	MaxLengthBytes    any           `json:"max_length_bytes"`
	MaxPriority       any           `json:"max_priority"`
}

type bindingInfo struct {
	Exchange        *exchangeInfo `json:"exchange"`
	RoutingKey      string        `json:"routing_key"`
	Arguments       any           `json:"arguments"`
	UnbindArguments any           `json:"unbind_arguments"`
}

type exchangeInfo struct {
	Name         string `json:"name"`
	Type         string `json:"type"`
	Arguments    any    `json:"arguments"`
	Durable      bool   `json:"durable"`
	Passive      bool   `json:"passive"`
	AutoDelete   bool   `json:"auto_delete"`
	DeliveryMode any    `json:"delivery_mode"`
	NoDeclare    bool   `json:"no_declare"`
}

func exchangeOf(name, kind string, d broker.ExchangeDeclaration) *exchangeInfo {
	return &exchangeInfo{
		Name: name, Type: cmp.Or(kind, broker.Direct), Arguments: tableOf(d.Arguments), Durable: !d.Transient, AutoDelete: d.AutoDelete,
		NoDeclare: d.Skip,
	}
}

// tableOf is a table, or null if there is none.
func tableOf(table map[string]any) any {
	if len(table) == 0 {
		return nil
	}
	return table
}

func (m *Mailbox) activeQueues() any {
	list := []queueInfo{}
	for _, q := range m.w.Queues() {
		exchange, binding := q.Binding()
		d := &q.Declaration
		info := queueInfo{
			Name: q.Name, RoutingKey: binding.RoutingKey, Bindings: []bindingInfo{}, Exchange: exchangeOf(exchange, q.ExchangeType, d.Exchange),
			QueueArguments: tableOf(d.Arguments), BindingArguments: tableOf(d.BindingArguments), ConsumerArguments: tableOf(d.ConsumerArguments),
			Durable: !d.Transient, Exclusive: d.Exclusive, AutoDelete: q.Broadcast || d.AutoDelete,
		}
		if d.Skip {
			info.NoDeclare = true
		}
		for _, s := range q.Bindings {
			info.Exchange = nil
			info.Bindings = append(info.Bindings, bindingInfo{
				Exchange: exchangeOf(s.Exchange, s.ExchangeType, s.Declaration), RoutingKey: s.RoutingKey, Arguments: tableOf(s.Arguments),
			})
		}
		if q.Alias != "" {
			info.Alias = &q.Alias
		}
		list = append(list, info)
	}
	return list
}
