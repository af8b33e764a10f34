package redisbroker

import (
	"slices"
	"strconv"
	"strings"

	"github.com/apium/apium/broker"
)

// defaultSep is kombu's separator in list names and in the binding sets.
const defaultSep = "\x06\x16"

// keyspace names every key of the broker: kombu's, and our own under "apium.".
type keyspace struct {
	prefix string // global_keyprefix, put before every key literally
	sep    string
	steps  []int // ascending, the first is 0

	unacked, index, mutex string // full names

	fanout   string // fanout_prefix
	patterns bool   // fanout_patterns: channels name the routing key
}

// list returns the key of a queue's list of one priority step.
func (k *keyspace) list(queue string, step int) string {
	if step == 0 {
		return k.prefix + queue
	}
	return k.prefix + queue + k.sep + strconv.Itoa(step)
}

// step returns the priority step a message belongs to: the largest one that is
// not above its priority, which is clamped to 0…9.
func (k *keyspace) step(priority int) int {
	priority = min(max(priority, 0), 9)
	i, found := slices.BinarySearch(k.steps, priority)
	if found {
		return k.steps[i]
	}
	return k.steps[i-1]
}

// lists returns all keys of a queue, the most urgent first.
func (k *keyspace) lists(queue string) []string {
	keys := make([]string, len(k.steps))
	for i, step := range k.steps {
		keys[i] = k.list(queue, step)
	}
	return keys
}

// bindings returns the routing table of an exchange.
func (k *keyspace) bindings(exchange string) string {
	return k.prefix + "_kombu.binding." + exchange
}

// permanent returns the set that keeps kombu 5.7 and later from sweeping an
// exchange's routing table.
func (k *keyspace) permanent(exchange string) string {
	return k.prefix + "_kombu.binding_permanent." + exchange
}

// deadlines is the sorted set of exchanges whose routing tables kombu 5.7 and later
// sweeps.
func (k *keyspace) deadlines() string { return k.prefix + "_kombu.binding_deadlines" }

// channel returns the channel that messages of a fanout exchange are published to.
func (k *keyspace) channel(exchange, routingKey string) string {
	if routingKey != "" && k.patterns {
		exchange += "/" + routingKey
	}
	return k.prefix + k.fanout + exchange
}

// declaration returns the exchange a queue is bound to, and the member of its binding
// set.
func (k *keyspace) declaration(q broker.Queue) (exchange, member string) {
	exchange, b := q.Binding()
	return exchange, b.RoutingKey + k.sep + b.Pattern + k.sep + b.Queue
}

// private names the queue that what a worker hears of a fanout queue is kept in.
func (k *keyspace) private(id, queue string) string { return privatePrefix + id + "." + queue }

const privatePrefix = "apium.fanout."

// owner returns the id of the worker whose private queue this is, "" if it is none.
func (k *keyspace) owner(queue string) string {
	rest, private := strings.CutPrefix(queue, privatePrefix)
	id, _, _ := strings.Cut(rest, ".")
	if !private {
		return ""
	}
	return id
}

// parkedQueues is the set of the queues that have parked messages.
func (k *keyspace) parkedQueues() string { return k.prefix + "apium.parked" }

// parked is the index of a queue's parked messages: tag → time they are due.
func (k *keyspace) parked(queue string) string { return k.prefix + "apium.parked." + queue }

// redeliveries counts how often a message was given back because its worker had died.
func (k *keyspace) redeliveries(deliveryTag string) string {
	return k.prefix + "apium.redeliveries." + deliveryTag
}

// started marks a claim of a message that was redelivered before and is being run.
func (k *keyspace) started(tag string) string { return k.prefix + "apium.started." + tag }

// letters is the hash of dead letters, by id; letterIndex knows when they were buried.
func (k *keyspace) letters() string     { return k.prefix + "apium.dlq" }
func (k *keyspace) letterIndex() string { return k.prefix + "apium.dlq.index" }

// once starts the marks of what was done already; see redisconn.Marks.
func (k *keyspace) once() string { return k.prefix + "apium.once." }

// letterRaw is the message of a dead letter that is too large to be kept in it.
func (k *keyspace) letterRaw(id string) string { return k.letterRaws() + id }

func (k *keyspace) letterRaws() string { return k.prefix + "apium.dlq.raw." }

// workers is the hash of the workers that claim: id → registration.
func (k *keyspace) workers() string { return k.prefix + "apium.workers" }

// alive is the liveness key of a worker; its value is the worker's epoch.
func (k *keyspace) alive(id string) string { return k.prefix + "apium.alive." + id }

// inbox is where waiters move the messages of a list, given its key.
func (k *keyspace) inbox(list string) string {
	return k.prefix + "apium.inbox." + strings.TrimPrefix(list, k.prefix)
}

// slots is the hash of what has been sent of a schedule's entries, and leader names who sends them.
func (k *keyspace) slots(schedule string) string { return k.prefix + "apium.beat." + schedule }

func (k *keyspace) leader(schedule string) string { return k.prefix + "apium.beat.leader." + schedule }
