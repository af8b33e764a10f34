package amqpbroker

import (
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
)

// declarer is what of a channel declares.
type declarer interface {
	ExchangeDeclare(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error
	ExchangeDeclarePassive(name, kind string, durable, autoDelete, internal, noWait bool, args amqp.Table) error
	ExchangeBind(destination, key, source string, noWait bool, args amqp.Table) error
	QueueDeclare(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error)
	QueueDeclarePassive(name string, durable, autoDelete, exclusive, noWait bool, args amqp.Table) (amqp.Queue, error)
	QueueBind(name, key, exchange string, noWait bool, args amqp.Table) error
}

// delayArguments are those of a level's queue.
func delayArguments(level int, queueType string) amqp.Table {
	next := delayDelivery
	if level > 0 {
		next = delayLevel(level - 1)
	}
	args := amqp.Table{
		"x-queue-type": queueType, "x-overflow": "reject-publish", "x-dead-letter-exchange": next,
		"x-message-ttl": narrow(1000 << level),
	}
	if queueType == "quorum" {
		args["x-dead-letter-strategy"] = "at-least-once"
	}
	return args
}

// declareDelays declares native delayed delivery in Celery's order. All but the first steps and the last are
// not waited for: what is wrong with one of them closes the channel, and fails the last. What is refused is so at the first level, nearly
// always; and what is still sent then may come just after the channel has been closed, over which the broker closes the connection.
func declareDelays(ch declarer, queueType string) error {
	const top = delayLevels - 1
	for level := top; level >= 0; level-- {
		name := delayLevel(level)
		if err := ch.ExchangeDeclare(name, broker.Topic, true, false, false, level < top, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(name, true, false, false, level < top, delayArguments(level, queueType)); err != nil {
			return err
		}
		if err := ch.QueueBind(name, strings.Repeat("*.", top-level)+"1.#", name, true, nil); err != nil {
			return err
		}
	}
	for level := top; level > 0; level-- {
		if err := ch.ExchangeBind(delayLevel(level-1), strings.Repeat("*.", top-level)+"0.#", delayLevel(level), true, nil); err != nil {
			return err
		}
	}
	if err := ch.ExchangeDeclare(delayDelivery, broker.Topic, true, false, false, true, nil); err != nil {
		return err
	}
	return ch.ExchangeBind(delayDelivery, strings.Repeat("*.", top)+"0.#", delayLevel(0), false, nil)
}

// findDelays fails unless native delayed delivery is there, by whomever it was declared.
func findDelays(ch declarer) error {
	const top = delayLevels - 1
	for level := top; level >= 0; level-- {
		name := delayLevel(level)
		if err := ch.ExchangeDeclarePassive(name, broker.Topic, true, false, false, level < top, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclarePassive(name, true, false, false, level < top, nil); err != nil {
			return err
		}
	}
	return ch.ExchangeDeclarePassive(delayDelivery, broker.Topic, true, false, false, false, nil)
}

// bindDelayed has a queue's delayed messages find back to it: Python's, as Celery binds them,
// which is impossible for direct exchanges, and those that are parked.
func bindDelayed(ch declarer, q broker.Queue) error {
	for _, bound := range q.Bound() {
		if bound.ExchangeType != broker.Topic && bound.ExchangeType != broker.Fanout {
			continue
		}
		exchange, binding := bound.Binding()
		key := binding.RoutingKey
		if !strings.HasPrefix(key, "#") {
			key = "#." + key
		}
		if err := ch.ExchangeBind(exchange, key, delayDelivery, false, nil); err != nil {
			return err
		}
		if err := ch.QueueBind(q.Name, key, exchange, false, nil); err != nil {
			return err
		}
	}
	return ch.QueueBind(q.Name, parkedBinding(q.Name), delayDelivery, false, nil)
}
