package redisbroker

import (
	"slices"
	"strconv"
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

// binding returns the member of a binding set that routes a key to a queue.
func (k *keyspace) binding(routingKey, pattern, queue string) string {
	return routingKey + k.sep + pattern + k.sep + queue
}

// channel returns the channel that messages of a fanout exchange are published to.
func (k *keyspace) channel(exchange, routingKey string) string {
	if routingKey != "" && k.patterns {
		exchange += "/" + routingKey
	}
	return k.prefix + k.fanout + exchange
}

// workers is the hash of the workers that claim: id → registration.
func (k *keyspace) workers() string { return k.prefix + "apium.workers" }

// alive is the liveness key of a worker; its value is the worker's epoch.
func (k *keyspace) alive(id string) string { return k.prefix + "apium.alive." + id }

// inbox is the private list that a worker's n-th waiter moves messages to.
func (k *keyspace) inbox(id string, n int) string {
	return k.prefix + "apium.inbox." + id + "." + strconv.Itoa(n)
}
