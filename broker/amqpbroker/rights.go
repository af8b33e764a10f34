package amqpbroker

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/rabbitconn"
)

// Right is what a user of RabbitMQ may do with a name, be it that of a queue or of an exchange.
type Right int

// Rights, in the order in which rabbitmqctl set_permissions takes their patterns.
const (
	Configure Right = iota
	Write
	Read
)

func (r Right) String() string { return [...]string{"configure", "write", "read"}[r] }

// Need is a right that programs of a role need.
type Need struct {
	Right Right
	Name  string
	// Without is what does not work without it; "": nothing does.
	Without string
}

// anyID stands for an id in the name of a Need.
const anyID = "00000000-0000-0000-0000-000000000000"

// Shown is the name for people.
func (n Need) Shown() string { return strings.ReplaceAll(n.Name, anyID, "<uuid>") }

// needs collects those of a role.
type needs struct {
	cfg *PublisherConfig
	all []Need
}

func (n *needs) add(without, name string, rights ...Right) {
	for _, r := range rights {
		if name != "" && (r == Write || !strings.HasPrefix(name, "amq.")) {
			n.all = append(n.all, Need{r, name, without})
		}
	}
}

// Needs returns what a worker, producer, beat or operator needs that uses these settings; rpc says that results are awaited as
// messages.
func (c *PublisherConfig) Needs(role string, rpc bool) []Need {
	cfg := *c
	cfg.setDefaults()
	n := needs{cfg: &cfg}
	switch role {
	case "worker":
		n.queues("")
		n.mailboxes("remote control does not reach it")
		n.events()
		n.delays()
		n.add("nobody can read what waits there, and it stays in its queue", lettersQueue, Configure)
		n.add("a late task must not run for longer than consumer_timeout, and what killed a worker is not counted on classic queues",
			holdPrefix+anyID, Configure, Read)
	case "producer":
		n.queues("a queue that is there already has to be bound as it is")
		if rpc {
			n.add("results cannot be awaited", anyID, Configure, Read)
		}
	case "beat":
		n.queues("a queue that is there already has to be bound as it is")
		for _, prefix := range []string{journalPrefix, leaderPrefix, readerPrefix} {
			n.add("", prefix+"celery", Configure, Read)
		}
	case "operator":
		n.mailboxes("")
		for _, q := range cfg.Bound {
			n.add("its messages cannot be counted or purged", q.Name, Read)
		}
		n.add("dead letters cannot be looked at", lettersQueue, Read)
		n.add("dead letters cannot be replayed", "amq.default", Write)
	}
	return n.all
}

// queues are what is needed to publish to queues, and to consume them, unless reading is only for their bindings: then that is what
// does not work without it.
func (n *needs) queues(bindings string) {
	n.add("", "amq.default", Write)
	for _, q := range n.cfg.Bound {
		if q.Broadcast {
			q.Name = "bcast." + anyID
		}
		if bindings == "" {
			n.add("", q.Name, Read)
		}
		if !q.Declaration.Skip {
			n.add("it has to be there already", q.Name, Configure)
		}
		for _, bound := range q.Bound() {
			exchange, b := bound.Binding()
			if published := cmp.Or(bound.ExchangeType, broker.Direct) != broker.Direct || b.RoutingKey != q.Name; published {
				n.add("", exchange, Write)
			}
			if q.Declaration.Skip {
				continue
			}
			if !bound.Declaration.Exchange.Skip {
				n.add("it has to be there already", exchange, Configure)
			}
			n.add("it has to be bound already", q.Name, Write)
			n.add("it has to be bound already", exchange, Read)
		}
	}
}

// mailboxes are what is needed to ask workers, and to answer.
func (n *needs) mailboxes(without string) {
	mailbox := n.cfg.ControlExchange + ".pidbox"
	host, _ := os.Hostname() // an example
	for _, name := range []string{mailbox, "celery@" + host + "." + mailbox, "reply." + mailbox, anyID + ".reply." + mailbox} {
		n.add(without, name, Configure, Write, Read)
	}
}

func (n *needs) events() {
	const without = "it sends no events, and does not hear other workers"
	n.add(without, n.cfg.EventExchange, Configure, Write, Read)
	n.add(without, cmp.Or(n.cfg.Events.Prefix, n.cfg.EventExchange)+"."+anyID, Configure, Write, Read)
}

func (n *needs) delays() {
	for _, name := range []string{delayLevel(delayLevels - 1), delayLevel(0), delayDelivery} {
		n.add("what is due later waits in memory", name, Configure, Write, Read)
	}
}

// Forbidden returns those of the needs that the user has no right for. It asks for nothing that RabbitMQ would do, and only its log
// shows that it was asked.
func (m *Management) Forbidden(ctx context.Context, needs []Need) (lacks []Need, err error) {
	type key struct {
		Right
		name string
	}
	known := map[key]bool{}
	for _, n := range needs {
		of := key{n.Right, n.Name}
		if _, ok := known[of]; !ok {
			if known[of], err = m.forbids(ctx, n.Right, n.Name); err != nil {
				return nil, fmt.Errorf("whether it may %s %s: %s", n.Right, n.Shown(), rabbitconn.Describe(err))
			}
		}
		if known[of] {
			lacks = append(lacks, n)
		}
	}
	return lacks, nil
}

// forbids tells whether the user may not do something with a name.
func (m *Management) forbids(ctx context.Context, r Right, name string) (bool, error) {
	if r != Configure && m.ask(ctx, func(ch *amqp.Channel) error { return ch.ExchangeUnbind(name, nowhere, name, false, nil) }) == nil {
		return false, nil // it may write and read, and so RabbitMQ logs nothing
	}
	err := m.ask(ctx, func(ch *amqp.Channel) error { return attempts[r](ch, name) })
	switch rabbitconn.Code(err) {
	case amqp.AccessRefused:
		return strings.Contains(err.Error(), "'"+name+"' in vhost"), nil // not: that of another name
	case amqp.NotFound, amqp.PreconditionFailed, amqp.ResourceLocked: // it looks at rights first
		return false, nil
	}
	return false, err
}

// nowhere is a name that nothing has.
const nowhere = "apium.nowhere"

// attempts ask for what needs a right and cannot be done. A user of RabbitMQ's has rights to names, whatever has them: so it does
// not matter that there may be no queue or exchange of the name.
var attempts = [...]func(ch *amqp.Channel, name string) error{
	Configure: func(ch *amqp.Channel, name string) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "none"})
		return err
	},
	Write: func(ch *amqp.Channel, name string) error {
		return ch.ExchangeUnbind(name, nowhere, nowhere, false, nil)
	},
	Read: func(ch *amqp.Channel, name string) error {
		_, err := ch.Consume(name, "", false, false, false, false, amqp.Table{"x-priority": "none"})
		return err
	},
}
