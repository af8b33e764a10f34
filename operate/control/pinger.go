package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/worker"
)

// BeatCommand is a command that beats of Apium answer to, and nobody else: so they are told from Celery's.
const BeatCommand = "apium_beat"

// Pinger answers to ping for a node that is no worker, as Celery's beat does (celery/beat.py: BeatPidbox). To
// everything else it is silent. Broker and Hostname are required.
type Pinger struct {
	Broker   Broker
	Hostname string
	// Exchange is Celery's control_exchange. Default: celery.
	Exchange string
	// Decoder reads requests. The zero value accepts JSON.
	Decoder protocol.Decoder
	// Alive tells whether the node works; if not it is silent. Nil: it does.
	Alive func() bool
	// Logger. Default: slog.Default().
	Logger *slog.Logger

	clock worker.Clock
}

// Run answers until ctx is done.
func (p *Pinger) Run(ctx context.Context) error {
	if p.Exchange == "" {
		p.Exchange = DefaultExchange
	}
	if p.Logger == nil {
		p.Logger = slog.Default()
	}
	exchange := p.Exchange + ".pidbox"
	err := p.Broker.Subscribe(ctx, broker.Subscription{
		Exchange: exchange, Queue: p.Hostname + "." + exchange,
		Handle: func(_ string, message broker.Content) { p.receive(ctx, message) },
	})
	if errors.Is(err, ctx.Err()) {
		return nil
	}
	return fmt.Errorf("control: %w", err)
}

// receive handles one request. What cannot be read is others' to complain of.
func (p *Pinger) receive(ctx context.Context, message broker.Content) {
	var received protocol.Received
	message.Read(&received)
	r, err := p.Decoder.DecodeControlRequest(&received)
	if err != nil || r.ReplyTo == nil || p.Alive != nil && !p.Alive() {
		return
	}
	var value string
	switch concerned, err := concerns(r, p.Hostname); {
	case err != nil || !concerned:
		return
	case r.Method == "ping":
		value = `{"ok": "pong"}`
	case r.Method == BeatCommand:
		value = `{"ok": "apium"}`
	default:
		return
	}
	p.clock.Adjust(r.Clock)
	reply := protocol.ControlReply{Node: p.Hostname, Value: json.RawMessage(value), Ticket: r.Ticket, Clock: p.clock.Forward()}
	encoded, err := reply.Encode(nil)
	sendReply(ctx, p.Broker, p.Logger, r, encoded, err)
}

// OtherBeats asks who else answers to ping as a beat, and returns those that are not Apium's: two of
// them send everything twice.
func (c *Client) OtherBeats(ctx context.Context, isBeat func(node string) bool, timeout time.Duration) ([]string, error) {
	replies, err := c.Ask(ctx, Question{Command: "ping", Timeout: timeout}, nil)
	if err != nil {
		return nil, err
	}
	var beats []string
	for _, r := range replies {
		if isBeat(r.Node) {
			beats = append(beats, r.Node)
		}
	}
	if len(beats) == 0 {
		return nil, nil
	}
	ours, err := c.Ask(ctx, Question{Command: BeatCommand, Destination: beats, Timeout: timeout}, nil)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, node := range beats {
		if !slices.ContainsFunc(ours, func(r Reply) bool { return r.Node == node }) {
			others = append(others, node)
		}
	}
	return others, nil
}
