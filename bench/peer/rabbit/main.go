// Command rabbit is no worker: it takes messages off RabbitMQ with the bare client library, acknowledges them in
// groups, sends a result for each and has it confirmed, with one write for each group. So it shows what the broker
// and that library can do.
// usage: rabbit URL PREFETCH rpc|redis
package main

import (
	"log"
	"net"
	"os"
	"strconv"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	prefetch, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = echo(os.Args[1], prefetch, os.Args[3] == "rpc")
	}
	log.Fatal(err)
}

// group is how many messages are settled together, at most.
const group = 128

func echo(url string, prefetch int, replies bool) error {
	in, deliveries, err := consume(url, prefetch)
	if err != nil {
		return err
	}
	out, kept, err := publisher(url)
	if err != nil {
		return err
	}
	taken, sent := make([]amqp.Delivery, 0, group), make([]*amqp.DeferredConfirmation, 0, group)
	for first := range deliveries {
		taken = append(taken[:0], first)
		for len(taken) < group && len(deliveries) > 0 {
			taken = append(taken, <-deliveries)
		}
		if err := in.Ack(taken[len(taken)-1].DeliveryTag, true); err != nil {
			return err
		}
		sent = sent[:0]
		kept.keep(true)
		for i := range taken {
			if !replies {
				break
			}
			confirm, err := out.PublishWithDeferredConfirm("", taken[i].ReplyTo, false, false, amqp.Publishing{
				ContentType: "application/json", ContentEncoding: "utf-8", CorrelationId: taken[i].CorrelationId,
				Body: []byte(`{"status": "SUCCESS", "result": 3, "traceback": null, "children": [], "task_id": "` + taken[i].CorrelationId + `"}`),
			})
			if err != nil {
				return err
			}
			sent = append(sent, confirm)
		}
		kept.keep(false)
		for _, confirm := range sent {
			confirm.Wait()
		}
	}
	return amqp.ErrClosed
}

func consume(url string, prefetch int) (*amqp.Channel, <-chan amqp.Delivery, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, nil, err
	}
	delivered, err := ch.Consume("celery", "", false, false, false, false, nil)
	if err != nil {
		return nil, nil, err
	}
	deliveries := make(chan amqp.Delivery, prefetch) // the library's has no room, so that nothing would be there at once
	go func() {
		defer close(deliveries)
		for d := range delivered {
			deliveries <- d
		}
	}()
	return ch, deliveries, nil
}

func publisher(url string) (*amqp.Channel, *kept, error) {
	out := &kept{}
	conn, err := amqp.DialConfig(url, amqp.Config{Dial: func(network, addr string) (net.Conn, error) {
		var err error
		out.Conn, err = net.Dial(network, addr)
		return out, err
	}})
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	return ch, out, ch.Confirm(false)
}

// kept is a connection that can keep back what is written for a while.
type kept struct {
	net.Conn
	mu    sync.Mutex
	keeps bool
	data  []byte
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.keeps {
		return k.Conn.Write(p)
	}
	k.data = append(k.data, p...)
	return len(p), nil
}

func (k *kept) keep(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keeps = on; !on {
		_, _ = k.Conn.Write(k.data) // if it fails the channel is closed, and says so
		k.data = k.data[:0]
	}
}
