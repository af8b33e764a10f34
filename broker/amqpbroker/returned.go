package amqpbroker

import (
	"maps"
	"math"

	amqp "github.com/rabbitmq/amqp091-go"
)

// returnedHeader is a table of what a message was before it was put back into its queue as a copy: where it was
// published to, how often a worker has died of it, and which attempt of its task it is. No task sees it. A Python worker that gets the copy and tries
// its task again leaves the header in: it then tells of another attempt, and means nothing.
const returnedHeader = "apium-returned"

// beside is where it can be seen whether the message of a copy is still there: the hold that the copy is published for and the queue that has
// the note about it, or the queue of its transfer; or nowhere.
type beside struct{ hold, notes string }

// returned is a message as it is put back into its queue, or into one for copies.
func (d *delivery) returned(redeliveries int, b beside) amqp.Publishing {
	p := republication(&d.Delivery)
	was := amqp.Table{
		"exchange": d.Exchange, "routing_key": d.RoutingKey, "attempt": attempt(d.Headers), "redeliveries": int32(min(redeliveries, math.MaxInt32)), //nolint:gosec // it fits
	}
	p.Headers = with(p.Headers, returnedHeader, was)
	if b.notes != "" {
		was["notes"] = b.notes
	}
	if b.hold != "" {
		was["hold"] = b.hold
		p.Expiration = "" // that is for others to see to
	}
	return p
}

// attempt tells attempts of one task, and tasks, from one another.
func attempt(headers amqp.Table) string { return text(headers, "id") + "#" + text(headers, "retries") }

// take takes a table out of the headers that a worker of ours has put there; they are this delivery's own then. Nil: it is not about this attempt of
// the task.
func (d *delivery) take(header string) (was amqp.Table, found bool) {
	value, found := d.Headers[header]
	if !found {
		return nil, false
	}
	d.Headers = maps.Clone(d.Headers)
	delete(d.Headers, header)
	if was, _ = value.(amqp.Table); was["attempt"] != attempt(d.Headers) {
		return nil, true
	}
	return was, true
}

// restore has a message that was put back look as it did before.
func (d *delivery) restore() {
	if d.Redelivered {
		_, d.counted = d.Headers[deliveryCount]
		d.redeliveries = 1 // unless it says more: at the first time it is not known whether anybody had started it
	}
	was, found := d.take(returnedHeader)
	if !found {
		return
	}
	d.Headers = withoutNotes(d.Headers)
	if was == nil {
		return
	}
	d.Exchange, _ = was["exchange"].(string)
	d.RoutingKey, _ = was["routing_key"].(string)
	d.held, _ = was["hold"].(string)
	d.notes, _ = was["notes"].(string)
	n, _ := was["redeliveries"].(int32)
	d.redeliveries, d.Redelivered = int(n), true
}
