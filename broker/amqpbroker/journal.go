package amqpbroker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
)

// journal is the queue of what is stored of a schedule. Nobody consumes it: who reads it takes its records and puts them back.
type journal struct {
	queue  string
	stored map[string]string // what all records say together, by entry
	added  int               // bytes of records since it was condensed
	whole  int               // bytes of the record of all, then
}

// record is what a message of the journal says: what is stored of entries from then on; "": nothing.
type record map[string]string

func (r record) in(stored map[string]string) {
	for entry, state := range r {
		if stored[entry] = state; state == "" {
			delete(stored, entry)
		}
	}
}

// outgoing is the message of a record.
func (j *journal) outgoing(r record) *outgoing {
	body, _ := json.Marshal(r) //nolint:errchkjson // texts
	return &outgoing{key: j.queue, mandatory: true, Publishing: amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, Body: body,
	}}
}

// add notes a record that was published.
func (j *journal) add(r record) {
	r.in(j.stored)
	for entry, state := range r {
		j.added += len(entry) + len(state)
	}
}

// shortest is how many bytes of records a journal may always have.
const shortest = 256 << 10

// long tells whether the journal is to be condensed.
func (j *journal) long() bool { return j.added > shortest+4*j.whole }

// declare makes the queue. It is a classic one whatever the default is: a quorum queue counts how often a message was looked at.
func (j *journal) declare(ch *amqp.Channel) error {
	_, err := ch.QueueDeclare(j.queue, true, false, false, false, amqp.Table{"x-queue-type": "classic"})
	return err
}

// condense puts one record in the place of all. What is stored is read if that is not known.
func (j *journal) condense(on *line) error {
	if err := j.declare(on.ch); err != nil {
		return err
	}
	read, last, err := j.read(on.ch)
	if err != nil {
		return err
	}
	if j.stored == nil {
		j.stored = read
	}
	all := j.outgoing(j.stored)
	j.added, j.whole = 0, len(all.Body)
	if last == 0 && len(j.stored) == 0 {
		return nil
	}
	if last > 0 {
		if err := on.ch.Ack(last, true); err != nil {
			return err
		}
	}
	return on.commit([]*outgoing{all})
}

// read takes all records of the journal; last is the tag of the last one, 0 if there is none.
func (j *journal) read(ch *amqp.Channel) (stored map[string]string, last uint64, err error) {
	stored = map[string]string{}
	for {
		d, ok, err := ch.Get(j.queue, false)
		if err != nil || !ok {
			return stored, last, err
		}
		last = d.DeliveryTag
		var r record
		if err := json.Unmarshal(d.Body, &r); err != nil {
			return nil, 0, fmt.Errorf("queue %q has a message that no beat has published: %w", j.queue, err)
		}
		r.in(stored)
	}
}

// look reads the journal and leaves it as it is.
func (j *journal) look(ch *amqp.Channel) error {
	read, last, err := j.read(ch)
	if rabbitconn.Code(err) == amqp.NotFound { // nothing was ever sent
		j.stored = map[string]string{}
		return nil
	}
	j.stored = maps.Clone(read)
	if last > 0 {
		err = errors.Join(err, ch.Nack(last, true, true))
	}
	return err
}
