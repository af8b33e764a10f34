package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

const (
	// sendTimeout is how long a broker may take to take a question. One that is short of memory takes nothing for as long as
	// that lasts; and a worker that is to make room in it starts with a question to its neighbors.
	sendTimeout = 5 * time.Second
	// closeTimeout is how long the traces of a question may take to be removed.
	closeTimeout = 5 * time.Second
)

// Client asks workers, Python's as well as Apium's (kombu/pidbox.py: Mailbox). Broadcaster
// and Asker are required.
type Client struct {
	Broadcaster broker.Broadcaster
	Asker       broker.Asker
	// Exchange is Celery's control_exchange. Default: celery.
	Exchange string
	// Decoder reads replies. The zero value accepts JSON.
	Decoder protocol.Decoder
	// Signed signs requests. nil: they are JSON.
	Signed protocol.Serializer
}

// Question is a command to workers.
type Question struct {
	Command     string
	Arguments   []byte   // raw JSON object; nil: none
	Destination []string // node names; empty: everybody
	// Timeout is how long to wait for the next reply.
	Timeout time.Duration
}

// Reply is what one node answers.
type Reply struct {
	Node  string
	Value json.RawMessage
}

// Ask broadcasts a question and returns the replies in the order they come, after handing
// each to heard, which may be nil. It is done when there has been no reply for the
// timeout, or there are as many as destinations. No reply is no error; one that cannot be
// read is, and does not keep the others away. What it needs in Redis meanwhile is gone when
// it returns.
func (c *Client) Ask(ctx context.Context, q Question, heard func(Reply)) (all []Reply, err error) {
	exchange := c.Exchange
	if exchange == "" {
		exchange = DefaultExchange
	}
	id := protocol.NewID()
	address := protocol.ControlAddress{Exchange: "reply." + exchange + ".pidbox", RoutingKey: id}
	replies, err := c.Asker.AwaitReplies(ctx, broker.Queue{
		Name: id + "." + address.Exchange, Exchange: address.Exchange, RoutingKey: id,
	})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, replies.Close(last))
	}()
	request := protocol.ControlRequest{
		Method: q.Command, Arguments: q.Arguments, Destination: q.Destination, Ticket: protocol.NewID(), ReplyTo: &address, Clock: 1,
	}
	if q.Timeout > 0 {
		request.Expires = time.Now().Add(q.Timeout)
	}
	message, err := request.EncodeIn(c.Signed)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if err := c.send(ctx, broker.Publication{Exchange: exchange + ".pidbox", ExchangeType: broker.Fanout, Message: message}); err != nil {
		return nil, err
	}
	var unreadable []error
	for len(q.Destination) == 0 || len(all)+len(unreadable) < len(q.Destination) {
		message, err := next(ctx, replies, q.Timeout)
		switch {
		case ctx.Err() != nil:
			return all, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return all, errors.Join(unreadable...)
		case err != nil:
			return all, fmt.Errorf("control: %w", err)
		}
		var received protocol.Received
		message.Read(&received)
		reply, err := c.Decoder.DecodeControlReply(&received)
		if err != nil {
			unreadable = append(unreadable, fmt.Errorf("control: reply to %s: %w", q.Command, err))
			continue
		}
		all = append(all, Reply{Node: reply.Node, Value: reply.Value})
		if heard != nil {
			heard(all[len(all)-1])
		}
	}
	return all, errors.Join(unreadable...)
}

// send broadcasts a request, unless the broker does not take it in time.
func (c *Client) send(ctx context.Context, request broker.Publication) error {
	sending, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := c.Broadcaster.Broadcast(sending, request)
	switch {
	case err == nil:
		return nil
	case sending.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("control: the broker has not taken the request within %v: %w", sendTimeout, err)
	default:
		return fmt.Errorf("control: %w", err)
	}
}

// next waits for the next reply, but not for ever.
func next(ctx context.Context, replies broker.Replies, timeout time.Duration) (broker.Content, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return replies.Next(ctx)
}
