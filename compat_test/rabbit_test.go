package compat_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/broker/amqpbroker"
	"github.com/apium/apium/internal/rabbittest"
)

// brokerKind starts a broker of some kind, and a Redis for results.
type brokerKind func(t *testing.T, args ...string) *redisServer

// startRabbit makes a virtual host on the RabbitMQ that all tests share, and starts a Redis for results and
// for what tasks leave.
func startRabbit(t *testing.T, args ...string) *redisServer {
	t.Helper()
	s := startRedis(t, args...)
	s.vhost = rabbittest.New(t)
	return s
}

// rabbitMessages counts the messages that wait in queues, or for their time to go there, and those
// that consumers hold.
func rabbitMessages(t *testing.T, v *rabbittest.VHost, queues ...string) (n int) {
	t.Helper()
	for name, q := range v.Queues(t) {
		held := strings.HasPrefix(name, "apium.held.") && !strings.HasSuffix(name, ".notes") // what a note of a worker that was killed is about is gone
		if slices.Contains(queues, name) || strings.HasPrefix(name, "celery_delayed_") || held {
			n += q.Ready + q.Unacked
		}
	}
	return n
}

// asker is what asks workers by remote control.
func (s *redisServer) asker(t *testing.T) interface {
	broker.Broadcaster
	broker.Asker
} {
	t.Helper()
	if s.vhost == nil {
		return goPublisher(t, s)
	}
	p, err := amqpbroker.OpenPublisher(t.Context(), amqpbroker.PublisherConfig{URL: s.vhost.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// give puts messages into their queues, as kombu's transport of the broker does, from where they say
// that they come. Times to live are left out, so that workers see what has expired.
func (s *redisServer) give(t *testing.T, calls []call) {
	t.Helper()
	if s.vhost == nil {
		for _, c := range calls {
			s.do(t, "LPUSH", c.Key, c.Raw)
		}
		return
	}
	ch := rabbittest.Channel(t, s.vhost.URL())
	declared := map[string]bool{}
	declare := func(queue string) {
		if !declared[queue] {
			declareAsKombu(t, ch, queue)
			declared[queue] = true
		}
	}
	for _, c := range calls {
		queue, _, _ := strings.Cut(c.Key, "\x06\x16") // what follows is the priority in Redis
		declare(queue)
		message, from := publishing(t, c.Raw)
		exchange := ""
		if from != queue {
			exchange = from
			declare(from)
			if err := errors.Join(ch.QueueBind(queue, from, from, false, nil), ch.QueueUnbind(from, from, from, nil)); err != nil {
				t.Fatal(err)
			}
		}
		if err := ch.PublishWithContext(t.Context(), exchange, from, true, false, message); err != nil {
			t.Fatal(err)
		}
		if from != queue { // what is published again stays there
			if err := errors.Join(ch.QueueBind(from, from, from, false, nil), ch.QueueUnbind(queue, from, from, nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, patience, "the messages are in their queues", func() bool {
		n := 0
		for _, q := range s.vhost.Queues(t) {
			n += q.Ready
		}
		return n == len(calls)
	})
}

func declareAsKombu(t *testing.T, ch *amqp.Channel, queue string) {
	t.Helper()
	if err := ch.ExchangeDeclare(queue, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, queue, queue, false, nil); err != nil {
		t.Fatal(err)
	}
}

// publishing is what kombu's transport for RabbitMQ makes of a message that kombu has wrapped for Redis.
// from is the queue that it says it was published to.
func publishing(t *testing.T, raw string) (message amqp.Publishing, from string) {
	t.Helper()
	var envelope struct {
		Body            string         `json:"body"`
		ContentType     string         `json:"content-type"`
		ContentEncoding string         `json:"content-encoding"`
		Headers         map[string]any `json:"headers"`
		Properties      struct {
			CorrelationID string `json:"correlation_id"`
			ReplyTo       string `json:"reply_to"`
			DeliveryMode  uint8  `json:"delivery_mode"`
			Priority      uint8  `json:"priority"`
			BodyEncoding  string `json:"body_encoding"`
			DeliveryInfo  struct {
				RoutingKey string `json:"routing_key"`
			} `json:"delivery_info"`
		} `json:"properties"`
	}
	d := json.NewDecoder(bytes.NewReader([]byte(raw)))
	d.UseNumber()
	if err := d.Decode(&envelope); err != nil {
		t.Fatalf("%v: %s", err, tail(raw, 300))
	}
	body := []byte(envelope.Body)
	if envelope.Properties.BodyEncoding == "base64" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(envelope.Body); err != nil {
			t.Fatal(err)
		}
	}
	return amqp.Publishing{
		ContentType: envelope.ContentType, ContentEncoding: envelope.ContentEncoding, Headers: table(envelope.Headers),
		CorrelationId: envelope.Properties.CorrelationID, ReplyTo: envelope.Properties.ReplyTo,
		DeliveryMode: envelope.Properties.DeliveryMode, Priority: envelope.Properties.Priority, Body: body,
	}, envelope.Properties.DeliveryInfo.RoutingKey
}

// table gives the values of headers the types that py-amqp gives them.
func table(object map[string]any) amqp.Table {
	t := amqp.Table{}
	for name, value := range object {
		t[name] = field(value)
	}
	return t
}

func field(value any) any {
	switch value := value.(type) {
	case json.Number:
		n, err := value.Int64()
		switch {
		case err != nil:
			f, _ := value.Float64() // JSON's numbers are either
			return f
		case n == int64(int32(n)):
			return int32(n)
		default:
			return n
		}
	case map[string]any:
		return table(value)
	case []any:
		list := make([]any, len(value))
		for i, element := range value {
			list[i] = field(element)
		}
		return list
	default:
		return value
	}
}

// rabbitDump tells of each message that waits in a virtual host, by the task and its attempt, what is the
// same in every run.
func rabbitDump(t *testing.T, v *rabbittest.VHost) dump {
	t.Helper()
	ch := rabbittest.Channel(t, v.URL())
	d := dump{}
	for name := range v.Queues(t) {
		for {
			m, ok, err := ch.Get(name, true)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			where := fmt.Sprintf("message in %s of %v #%v", name, m.Headers["id"], m.Headers["retries"])
			if d[where] != nil {
				where += " (another)"
			}
			d[where] = map[string]string{
				"route": m.Exchange + " " + m.RoutingKey, "content": m.ContentType + " " + m.ContentEncoding, "body": string(m.Body),
				"reply_to": fmt.Sprint(m.ReplyTo != ""), "correlation_id": m.CorrelationId, "mode and priority": fmt.Sprint(m.DeliveryMode, m.Priority),
			}
			for header, value := range m.Headers {
				if header == "eta" || header == "expires" || header == "origin" {
					value = value != nil
				}
				d[where]["header "+header] = fmt.Sprintf("%T %[1]v", value)
			}
		}
	}
	return d
}
