package cli

import (
	"context"

	"github.com/apium/apium/broker/redisbroker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/operate/events"
	"github.com/apium/apium/operate/gossip"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/worker"
)

// mingle exchanges revoked ids and clocks with the workers that are there.
func (s *workerSettings) mingle(ctx context.Context, w *worker.Worker, publisher *redisbroker.Publisher) {
	if s.withoutMingle || s.embedded { // nobody else can be there
		return
	}
	ask := &control.Client{Broadcaster: publisher, Asker: publisher, Exchange: s.conf.ControlExchange, Decoder: *w.Decoder()}
	if err := gossip.Mingle(ctx, w, ask, s.log); err != nil && ctx.Err() == nil {
		s.log.Error(err.Error(), logline.EventKey, "mingle failed", "error", err)
	}
}

// newNode makes what listens to other workers; nil with --without-gossip.
func (s *workerSettings) newNode(w *worker.Worker, publisher *redisbroker.Publisher, dispatcher *events.Dispatcher) (*gossip.Node, error) {
	if s.withoutGossip {
		return nil, nil //nolint:nilnil // no node is no error
	}
	cfg := fromsettings.Producer(s.conf)
	cfg.Publisher = publisher
	producer, err := client.New(cfg)
	if err != nil {
		return nil, err
	}
	return gossip.New(gossip.Config{
		Broadcaster: publisher, Hostname: s.hostname, Clock: w.Clock(), Voice: dispatcher, Decoder: *w.Decoder(),
		Exchange: s.conf.EventExchange, QueuePrefix: s.conf.EventQueuePrefix, Logger: s.log,
		Call: func(ctx context.Context, signature []byte) error {
			sig, err := canvas.Decode(signature)
			if err == nil {
				_, err = producer.Send(ctx, sig)
			}
			return err
		},
	})
}

// startGossip listens to other workers until ctx is done; the returned function waits for
// the end.
func (s *workerSettings) startGossip(ctx context.Context, node *gossip.Node) (wait func()) {
	if node == nil {
		return func() {}
	}
	return beside(func() {
		if err := node.Run(ctx); err != nil {
			s.log.Error("gossip: "+err.Error(), logline.EventKey, "gossip failed", "error", err)
		}
	})
}
