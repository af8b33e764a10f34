package amqpbroker

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/internal/rabbitconn"
)

// Celery's native delayed delivery: 28 queues whose messages live for 1, 2, 4 … s, each
// before an exchange that sends a message into its queue or on to the next, as the bit of its
// level in the routing key says (kombu/transport/native_delayed_delivery.py).
const (
	delayLevels   = 28
	delayDelivery = "celery_delayed_delivery" // the exchange behind the last level
	longestDelay  = 1<<delayLevels - 1        // seconds
)

// delayPrefix is how long the digits of a routing key are, each with its dot.
const delayPrefix = 2 * delayLevels

func delayLevel(level int) string { return "celery_delayed_" + strconv.Itoa(level) }

// delayEntrance is where messages are published that are to be delayed.
var delayEntrance = delayLevel(delayLevels - 1)

// delayKey is the routing key of a message that is to arrive with the routing key to after so
// many seconds: 28 binary digits come before it. More than the longest delay is cut short.
func delayKey(seconds int64, to string) string {
	seconds = min(max(seconds, 0), longestDelay)
	key := make([]byte, 0, delayPrefix+len(to))
	for level := delayLevels - 1; level >= 0; level-- {
		key = append(key, '0'+byte(seconds>>level&1), '.')
	}
	return string(append(key, to...))
}

// delaySeconds is for how long a message is delayed that is due after a time: seconds are
// cut off, as Celery does, so that it arrives early and the rest is waited for in memory. What
// is due in less than a second arrives late instead: it was delayed because memory is full.
func delaySeconds(wait time.Duration) int64 {
	if wait <= 0 {
		return 0
	}
	return max(1, int64(wait/time.Second))
}

// undelayed returns a routing key without the digits in front of it. Celery 5.5 and 5.6 put
// new ones before the old when a task is tried again.
func undelayed(key string) (to string, was bool) {
	for hasDigits(key) {
		key, was = key[delayPrefix:], true
	}
	return key, was
}

func hasDigits(key string) bool {
	if len(key) <= delayPrefix {
		return false
	}
	for i := 0; i < delayPrefix; i += 2 {
		if key[i] != '0' && key[i] != '1' || key[i+1] != '.' {
			return false
		}
	}
	return true
}

// ofDelay tells whether an exchange is one of native delayed delivery.
func ofDelay(exchange string) bool { return strings.HasPrefix(exchange, "celery_delayed_") }

// parkedPrefix begins the word by which a queue's parked messages find back to it.
const parkedPrefix = "parked:"

var escapeWord = strings.NewReplacer(".", "%2E", "%", "%25")

// parkedWord is that word. It is none that Celery would use, and a single one, since Celery
// binds exchanges with #.<routing key>: what is parked for a queue "a.b" must not arrive in
// the queue "b" as well.
func parkedWord(queue string) string {
	word := parkedPrefix + escapeWord.Replace(queue)
	if delayPrefix+len(word) > rabbitconn.LongestText {
		sum := sha256.Sum256([]byte(queue))
		return parkedPrefix + hex.EncodeToString(sum[:])
	}
	return word
}

// parkedBinding is the key with which a queue is bound to the exchange behind the last level.
// A message that Celery tries again keeps the word, and is given new digits.
func parkedBinding(queue string) string { return strings.Repeat("*.", delayLevels) + parkedWord(queue) }

// wasParked tells whether a message comes back from having been parked by a worker of ours,
// for the queue that it is in: its routing key says so.
func wasParked(queue, key string) bool {
	to, was := undelayed(key)
	return was && to == parkedWord(queue)
}

// unpark has a message that comes back from having been parked look as if it had never been away.
func (d *delivery) unpark() {
	if !ofDelay(d.Exchange) || !wasParked(d.sub.source.name, d.RoutingKey) {
		return
	}
	d.unparked = true
	d.Exchange, d.RoutingKey, d.Headers = "", d.sub.source.name, withoutNotes(d.Headers)
	d.readParked()
}
