package rabbitmemory_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitmemory"
	"github.com/apium/apium/internal/rabbittest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	os.Exit(code)
}

// scripts are what clients do, to a RabbitMQ and to the one in memory. What both say must be the same.
var scripts = map[string]func(c *client){
	"given back":               givenBack(amqp.Table{}),
	"given back, quorum":       givenBack(quorum),
	"channel ends":             channelEnds(amqp.Table{}),
	"channel ends, quorum":     channelEnds(quorum),
	"cancelled":                cancelled(amqp.Table{}),
	"cancelled, quorum":        cancelled(quorum),
	"got and given back":       got(amqp.Table{}),
	"got, quorum":              got(quorum),
	"acknowledged":             acknowledged,
	"exclusive":                exclusive,
	"returned":                 returned,
	"refused":                  refused,
	"dead letters":             deadLetters(amqp.Table{}),
	"dead letters, quorum":     deadLetters(quorum),
	"at once":                  atOnce,
	"expires after it is back": expiresBack,
	"queue is deleted":         deleted,
	"deletes itself":           deletesItself,
	"topics":                   topics,
	"transaction":              transaction,
	"tag twice":                tagTwice,
	"queue expires":            queueExpires,
	"no acknowledgement":       noAck,
	"large":                    large,
}

var quorum = amqp.Table{"x-queue-type": "quorum"}

func TestLikeRabbitMQ(t *testing.T) {
	t.Parallel()
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := rabbittest.New(t).URL()
			want := play(t, script, func() (*amqp.Connection, error) { return amqp.Dial(url) })
			server := rabbitmemory.New(rabbitmemory.Options{})
			defer server.Close()
			got := play(t, script, func() (*amqp.Connection, error) {
				return amqp.DialConfig("amqp://guest:guest@memory//", amqp.Config{Dial: func(string, string) (net.Conn, error) {
					client, served := net.Pipe()
					server.Serve(served)
					return client, nil
				}})
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-RabbitMQ +in memory:\n%s", diff)
			}
			if len(want) == 0 {
				t.Error("nothing was said")
			}
		})
	}
}

// client plays a script, and notes what it is told.
type client struct {
	t    *testing.T
	dial func() (*amqp.Connection, error)
	conn *amqp.Connection
	ch   *amqp.Channel
	said []string
}

func play(t *testing.T, script func(*client), dial func() (*amqp.Connection, error)) []string {
	t.Helper()
	c := &client{t: t, dial: dial}
	c.conn = c.connect()
	c.ch = c.channel(c.conn)
	script(c)
	return c.said
}

func (c *client) connect() *amqp.Connection {
	c.t.Helper()
	conn, err := c.dial()
	c.must(err)
	c.t.Cleanup(func() { _ = conn.Close() }) // a script may have closed it
	return conn
}

func (c *client) channel(conn *amqp.Connection) *amqp.Channel {
	c.t.Helper()
	ch, err := conn.Channel()
	c.must(err)
	return ch
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) say(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

// fails notes the code of an error.
func (c *client) fails(what string, err error) {
	code := 0
	if e, ok := err.(*amqp.Error); ok { //nolint:errorlint // the library does not wrap
		code = e.Code
	}
	c.say("%s: %d", what, code)
}

func (c *client) declare(name string, args amqp.Table) {
	c.t.Helper()
	_, err := c.ch.QueueDeclare(name, true, false, false, false, args)
	c.must(err)
}

func (c *client) publish(key string, bodies ...string) {
	c.t.Helper()
	for _, body := range bodies {
		c.must(c.ch.PublishWithContext(c.t.Context(), "", key, false, false, amqp.Publishing{Body: []byte(body), DeliveryMode: amqp.Persistent}))
	}
}

// filled has messages in a queue that all see.
func (c *client) filled(queue string, args amqp.Table, bodies ...string) {
	c.t.Helper()
	c.declare(queue, args)
	c.publish(queue, bodies...)
	c.await(queue, len(bodies))
}

// await waits until so many messages wait in a queue.
func (c *client) await(queue string, n int) {
	c.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		ch := c.channel(c.conn)
		q, err := ch.QueueDeclarePassive(queue, false, false, false, false, nil)
		c.must(err)
		c.must(ch.Close())
		if q.Messages == n {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%d messages in %s, want %d", q.Messages, queue, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// consume consumes the queue q.
func (c *client) consume(ch *amqp.Channel, prefetch int) <-chan amqp.Delivery {
	c.t.Helper()
	c.must(ch.Qos(prefetch, 0, false))
	deliveries, err := ch.Consume("q", "tag of q", false, false, false, false, nil)
	c.must(err)
	return deliveries
}

func (c *client) next(deliveries <-chan amqp.Delivery) amqp.Delivery {
	c.t.Helper()
	select {
	case d, ok := <-deliveries:
		if !ok {
			c.t.Fatal("no more deliveries")
		}
		return d
	case <-time.After(30 * time.Second):
		c.t.Fatal("no delivery")
	}
	panic("unreachable")
}

// hear notes the next deliveries.
func (c *client) hear(deliveries <-chan amqp.Delivery, n int) {
	c.t.Helper()
	for range n {
		c.say("%s", shown(c.next(deliveries)))
	}
}

func shown(d amqp.Delivery) string {
	return fmt.Sprintf("%d %s from %q %q, again %t, count %v, expiration %q", d.DeliveryTag, d.Body, d.Exchange, d.RoutingKey, d.Redelivered, d.Headers["x-delivery-count"], d.Expiration)
}

// drain gets all that is in a queue.
func (c *client) drain(queue string) {
	c.t.Helper()
	ch := c.channel(c.conn)
	for {
		d, ok, err := ch.Get(queue, true)
		c.must(err)
		if !ok {
			return
		}
		d.DeliveryTag = 0
		c.say("in %s: %s", queue, shown(d))
	}
}

func givenBack(args amqp.Table) func(*client) {
	return func(c *client) {
		c.filled("q", args, "a", "b", "c", "d", "e")
		other := c.channel(c.conn)
		deliveries := c.consume(other, 4)
		c.hear(deliveries, 4)
		c.must(other.Reject(2, true))
		c.hear(deliveries, 1)
		c.must(other.Nack(3, true, true))
		c.hear(deliveries, 2)
		c.must(other.Cancel("tag of q", false))
		c.must(other.Ack(7, true))
		c.drain("q")
	}
}

func channelEnds(args amqp.Table) func(*client) {
	return func(c *client) {
		c.filled("q", args, "a", "b", "c", "d", "e")
		conn := c.connect()
		other := c.channel(conn)
		deliveries := c.consume(other, 3)
		c.hear(deliveries, 3)
		c.must(other.Ack(2, false))
		c.must(conn.Close())
		c.await("q", 4)
		c.drain("q")
	}
}

// cancelled has a consumer hold messages that ends, and its channel does not.
func cancelled(args amqp.Table) func(*client) {
	return func(c *client) {
		c.filled("q", args, "a", "b", "c", "d")
		other := c.channel(c.conn)
		deliveries := c.consume(other, 3)
		c.hear(deliveries, 3)
		c.must(other.Cancel("tag of q", false))
		c.must(other.Ack(1, false))
		c.must(other.Reject(3, true))
		c.await("q", 2)
		c.drain("q")
		c.must(other.Close())
		c.await("q", 1)
		c.drain("q")
	}
}

func got(args amqp.Table) func(*client) {
	return func(c *client) {
		c.filled("q", args, "a", "b", "c")
		for range 2 {
			d, _, err := c.ch.Get("q", false)
			c.must(err)
			c.say("%s, %d left", shown(d), d.MessageCount)
		}
		c.must(c.ch.Nack(0, true, true))
		c.await("q", 3)
		c.drain("q")
		_, ok, err := c.ch.Get("q", false)
		c.say("there is more: %t, %v", ok, err)
	}
}

func acknowledged(c *client) {
	c.filled("q", nil, "a", "b", "c", "d")
	for _, wrong := range []func(ch *amqp.Channel) error{
		func(ch *amqp.Channel) error { return ch.Ack(9, false) },
		func(ch *amqp.Channel) error { return ch.Ack(9, true) },
		func(ch *amqp.Channel) error { return errors.Join(ch.Ack(1, false), ch.Ack(1, true)) },
	} {
		c.await("q", 4)
		ch := c.channel(c.conn)
		closes := ch.NotifyClose(make(chan *amqp.Error, 1))
		deliveries := c.consume(ch, 1)
		c.hear(deliveries, 1)
		c.must(ch.Cancel("tag of q", false)) // RabbitMQ may send a delivery after it has closed the channel, at which the library closes the connection
		_ = wrong(ch)                        // it is written, and the channel closed over it
		err := <-closes
		c.say("%d %s", err.Code, err.Reason)
	}
	c.await("q", 3)
	ch := c.channel(c.conn)
	deliveries := c.consume(ch, 3)
	c.hear(deliveries, 3)
	c.must(ch.Ack(3, true))
	c.must(ch.Close())
	c.drain("q")
}

func exclusive(c *client) {
	_, err := c.ch.QueueDeclare("own", false, false, true, false, nil)
	c.must(err)
	conn := c.connect()
	for what, do := range map[string]func(ch *amqp.Channel) error{
		"declare": func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("own", false, false, true, false, nil)
			return err
		},
		"look": func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive("own", false, false, false, false, nil)
			return err
		},
		"get": func(ch *amqp.Channel) error { _, _, err := ch.Get("own", true); return err },
		"consume": func(ch *amqp.Channel) error {
			_, err := ch.Consume("own", "", true, false, false, false, nil)
			return err
		},
		"bind":   func(ch *amqp.Channel) error { return ch.QueueBind("own", "k", "amq.direct", false, nil) },
		"delete": func(ch *amqp.Channel) error { _, err := ch.QueueDelete("own", false, false, false); return err },
		"purge":  func(ch *amqp.Channel) error { _, err := ch.QueuePurge("own", false); return err },
	} {
		c.fails(what, do(c.channel(conn)))
	}
	slices.Sort(c.said)
	c.must(c.channel(conn).PublishWithContext(context.Background(), "", "own", true, false, amqp.Publishing{Body: []byte("a")}))
	c.await("own", 1)
	c.must(c.conn.Close())
	c.conn = conn
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		_, err := c.channel(conn).QueueDeclare("own", false, false, true, false, nil)
		if err == nil {
			c.say("it is free")
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.drain("own")
}

func returned(c *client) {
	c.declare("q", nil)
	c.must(c.ch.Confirm(false))
	told := make(chan string)
	returns, confirms := c.ch.NotifyReturn(make(chan amqp.Return)), c.ch.NotifyPublish(make(chan amqp.Confirmation))
	go func() {
		for {
			select {
			case r := <-returns:
				told <- fmt.Sprintf("back: %d %s, %q %q %s %q", r.ReplyCode, r.ReplyText, r.Exchange, r.RoutingKey, r.Body, r.CorrelationId)
			case n, ok := <-confirms:
				if !ok {
					return
				}
				told <- fmt.Sprintf("confirmed: %d %t", n.DeliveryTag, n.Ack)
			}
		}
	}()
	send := func(exchange, key string, mandatory bool, n int) {
		c.must(c.ch.PublishWithContext(context.Background(), exchange, key, mandatory, false, amqp.Publishing{Body: []byte("a"), CorrelationId: "c"}))
		for range n {
			c.say("%s", <-told)
		}
	}
	send("", "q", true, 1)
	send("", "nowhere", true, 2)
	send("", "nowhere", false, 1)
	send("amq.topic", "q", true, 2)
}

func refused(c *client) {
	c.declare("q", amqp.Table{"x-message-ttl": int32(1000)})
	c.must(c.ch.ExchangeDeclare("e", "direct", true, false, false, false, nil))
	for _, do := range []func(ch *amqp.Channel) error{
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive("no", true, false, false, false, nil)
			return err
		},
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive("no", "direct", true, false, false, false, nil)
		},
		func(ch *amqp.Channel) error { return ch.ExchangeDeclare("e", "topic", true, false, false, false, nil) },
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("e", "direct", false, false, false, false, nil)
		},
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive("e", "topic", false, false, false, false, nil)
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("q", true, false, false, false, nil)
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-message-ttl": int64(1000)})
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("q", false, false, false, false, amqp.Table{"x-message-ttl": int32(1000)})
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("r", true, false, false, false, amqp.Table{"x-queue-type": "none"})
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("r", false, false, true, false, quorum)
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("amq.r", true, false, false, false, nil)
			return err
		},
		func(ch *amqp.Channel) error { return ch.QueueBind("q", "k", "no", false, nil) },
		func(ch *amqp.Channel) error { return ch.QueueBind("no", "k", "e", false, nil) },
		func(ch *amqp.Channel) error { return ch.QueueBind("q", "k", "", false, nil) },
		func(ch *amqp.Channel) error { return ch.ExchangeBind("no", "k", "e", false, nil) },
		func(ch *amqp.Channel) error {
			_, err := ch.Consume("no", "", false, false, false, false, nil)
			return err
		},
		func(ch *amqp.Channel) error { _, _, err := ch.Get("no", false); return err },
		func(ch *amqp.Channel) error { _, err := ch.QueueDelete("no", false, false, false); return err },
		func(ch *amqp.Channel) error { _, err := ch.QueuePurge("no", false); return err },
		func(ch *amqp.Channel) error {
			c.publish("q", "a")
			c.await("q", 1)
			_, err := ch.QueueDelete("q", false, true, false)
			return err
		},
	} {
		ch := c.channel(c.conn)
		err := do(ch)
		text := ""
		if e, ok := err.(*amqp.Error); ok { //nolint:errorlint // the library does not wrap
			// what follows names virtual hosts, and differs
			text = fmt.Sprintf("%d %s, invalid %t", e.Code, strings.SplitN(e.Reason, " - ", 2)[0], strings.Contains(e.Reason, " - invalid "))
		}
		c.say("%d: %q", len(c.said), text)
	}
	ch := c.channel(c.conn)
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	c.must(ch.PublishWithContext(context.Background(), "no", "k", false, false, amqp.Publishing{}))
	c.say("publish: %d", (<-closes).Code)
}

func deadLetters(args amqp.Table) func(*client) {
	return func(c *client) {
		with := func(more amqp.Table) amqp.Table {
			for name, value := range args {
				more[name] = value
			}
			return more
		}
		c.declare("dead", nil)
		c.declare("short", with(amqp.Table{"x-message-ttl": int32(50), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}))
		c.declare("first", with(amqp.Table{"x-message-ttl": int32(10), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "short"}))
		c.declare("circle", with(amqp.Table{"x-message-ttl": int32(10), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "circle"}))
		c.publish("first", "a")
		c.publish("circle", "b")
		c.must(c.ch.PublishWithContext(context.Background(), "", "short", false, false, amqp.Publishing{Body: []byte("c"), Expiration: "1", Headers: amqp.Table{"mine": int32(1)}}))
		c.await("dead", 2)
		c.await("circle", 0)
		c.filled("rejects", with(amqp.Table{"x-dead-letter-exchange": "amq.fanout"}), "d")
		c.must(c.ch.QueueBind("dead", "", "amq.fanout", false, nil))
		d, _, err := c.ch.Get("rejects", false)
		c.must(err)
		c.must(c.ch.Reject(d.DeliveryTag, false))
		c.await("dead", 3)
		var heard []string
		for range 3 {
			d, _, err := c.ch.Get("dead", true)
			c.must(err)
			var deaths []string
			for _, each := range d.Headers["x-death"].([]any) {
				death := each.(amqp.Table)
				deaths = append(deaths, fmt.Sprintf("%v of %v by %v from %v %v", death["reason"], death["queue"], death["count"], death["exchange"], death["routing-keys"]))
			}
			d.DeliveryTag = 0
			heard = append(heard, fmt.Sprintf("%s, mine %v, first %v %v %q, deaths %q", shown(d), d.Headers["mine"],
				d.Headers["x-first-death-queue"], d.Headers["x-first-death-reason"], d.Headers["x-first-death-exchange"], deaths))
		}
		slices.Sort(heard)
		c.said = heard
	}
}

func atOnce(c *client) {
	c.declare("dead", nil)
	c.declare("q", amqp.Table{"x-message-ttl": int32(0), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
	c.publish("q", "a")
	c.await("dead", 1)
	deliveries := c.consume(c.ch, 1)
	c.publish("q", "b", "c")
	c.hear(deliveries, 1)
	c.await("dead", 2)
	c.drain("dead")
}

// expiresBack gives back what has outlived its time with a consumer.
func expiresBack(c *client) {
	c.declare("dead", nil)
	c.declare("q", amqp.Table{"x-message-ttl": int32(50), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
	other := c.channel(c.conn)
	deliveries := c.consume(other, 1)
	began := time.Now()
	c.publish("q", "a", "b")
	c.hear(deliveries, 1)
	c.await("dead", 1)
	for time.Since(began) < 60*time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	c.must(other.Close())
	c.await("dead", 2)
	c.drain("dead")
}

func deleted(c *client) {
	c.filled("q", nil, "a", "b")
	other := c.channel(c.conn)
	cancels := other.NotifyCancel(make(chan string, 1))
	c.hear(c.consume(other, 1), 1)
	n, err := c.ch.QueueDelete("q", false, false, false)
	c.say("%d %v", n, err)
	c.say("cancelled: %s", <-cancels)
	c.must(other.Ack(1, false)) // it is no error
	c.must(other.Qos(1, 0, false))
	c.filled("q", nil, "c")
	c.drain("q")
}

func deletesItself(c *client) {
	_, err := c.ch.QueueDeclare("q", true, true, false, false, nil)
	c.must(err)
	c.publish("q", "a")
	c.await("q", 1)
	other := c.channel(c.conn)
	c.hear(c.consume(other, 1), 1)
	q, err := c.ch.QueueDeclarePassive("q", true, true, false, false, nil)
	c.say("%d messages, %d consumers, %v", q.Messages, q.Consumers, err)
	c.must(other.Cancel("tag of q", false))
	_, err = c.ch.QueueDeclarePassive("q", true, true, false, false, nil)
	c.fails("look", err)
	c.must(other.Close())
}

func topics(c *client) {
	c.must(c.ch.ExchangeDeclare("e", "topic", true, false, false, false, nil))
	c.must(c.ch.ExchangeDeclare("f", "topic", true, false, false, false, nil))
	for i, key := range []string{"*.1.#", "#", "a.*", "#.b", "a.#.b", ""} {
		name := fmt.Sprint("q", i)
		c.declare(name, nil)
		c.must(c.ch.QueueBind(name, key, "e", false, nil))
		c.must(c.ch.QueueBind(name, key, "e", false, nil))
	}
	c.must(c.ch.ExchangeBind("e", "#.b", "f", false, nil))
	c.must(c.ch.Confirm(false))
	for i, key := range []string{"", "a", "a.b", "0.1", "0.1.x.y", "a.x.y.b", "b", "a.1"} {
		for j, exchange := range []string{"e", "f"} {
			sent, err := c.ch.PublishWithDeferredConfirm(exchange, key, false, false, amqp.Publishing{Body: fmt.Append(nil, i, j)})
			c.must(err)
			sent.Wait()
		}
	}
	for i := range 6 {
		c.drain(fmt.Sprint("q", i))
	}
}

func transaction(c *client) {
	c.filled("q", nil, "a", "b")
	other := c.channel(c.conn)
	c.must(other.Tx())
	get := func() {
		d, _, err := other.Get("q", false)
		c.must(err)
		c.say("%s", shown(d))
		c.must(other.Ack(d.DeliveryTag, false))
	}
	get()
	c.must(other.PublishWithContext(context.Background(), "", "q", true, false, amqp.Publishing{Body: []byte("c")}))
	returns := other.NotifyReturn(make(chan amqp.Return, 1))
	c.must(other.PublishWithContext(context.Background(), "", "no", true, false, amqp.Publishing{Body: []byte("d")}))
	c.must(other.TxCommit())
	c.say("back: %s", (<-returns).Body)
	get()
	c.must(other.PublishWithContext(context.Background(), "", "q", true, false, amqp.Publishing{Body: []byte("e")}))
	c.must(other.Close())
	c.await("q", 2)
	c.drain("q")
}

func tagTwice(c *client) {
	c.declare("q", nil)
	conn := c.connect()
	closes := conn.NotifyClose(make(chan *amqp.Error, 1))
	ch := c.channel(conn)
	c.consume(ch, 1)
	_, err := ch.Consume("q", "tag of q", false, false, false, false, nil)
	c.fails("consume", err)
	c.say("%d", (<-closes).Code)
}

func queueExpires(c *client) {
	expires := amqp.Table{"x-expires": int32(300)}
	c.declare("q", expires)
	other := c.channel(c.conn)
	c.consume(other, 1)
	began := time.Now()
	for time.Since(began) < 450*time.Millisecond {
		time.Sleep(10 * time.Millisecond)
	}
	c.declare("q", expires)
	q, err := c.ch.QueueDeclarePassive("q", true, false, false, false, nil)
	c.say("%d consumers, %v", q.Consumers, err)
	c.must(other.Close())
	began = time.Now()
	for deadline := began.Add(30 * time.Second); time.Now().Before(deadline); {
		err := c.channel(c.conn).PublishWithContext(context.Background(), "", "q", false, false, amqp.Publishing{})
		c.must(err)
		time.Sleep(400 * time.Millisecond)
		_, err = c.channel(c.conn).QueueDeclarePassive("q", true, false, false, false, nil)
		if err != nil {
			c.fails("look", err)
			return
		}
	}
}

func noAck(c *client) {
	c.filled("q", nil, "a", "b")
	other := c.channel(c.conn)
	deliveries, err := other.Consume("q", "t", true, false, false, false, nil)
	c.must(err)
	c.hear(deliveries, 2)
	c.must(other.Close())
	c.drain("q")
}

func large(c *client) {
	c.declare("q", nil)
	for _, n := range []int{0, 1, 131064, 131065, 300000} {
		c.publish("q", strings.Repeat("x", n))
	}
	for n := range 5 {
		_ = n
		c.await("q", 5-n)
		d, _, err := c.ch.Get("q", true)
		c.must(err)
		c.say("%d bytes", len(d.Body))
	}
}
