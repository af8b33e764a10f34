package app

import (
	"context"

	"github.com/apium/apium/client"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/operate/gossip"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// operator asks other workers.
func (s *service) operator() *control.Client {
	return &control.Client{Broadcaster: s.publisher, Asker: s.publisher, Exchange: s.conf.ControlExchange, Decoder: *s.runner.Decoder(), Signed: s.cfg.Signed}
}

// mingle exchanges revoked ids and clocks with the workers that are there.
func (s *service) mingle(ctx context.Context) {
	if s.opts.WithoutMingle {
		return
	}
	if err := gossip.Mingle(ctx, s.runner, s.operator(), s.log); err != nil && ctx.Err() == nil {
		s.log.Error(err.Error(), logline.EventKey, "mingle failed", "error", err)
	}
}

// newNode makes what listens to other workers; nil without gossip.
func (s *service) newNode() (*gossip.Node, error) {
	if s.opts.WithoutGossip {
		return nil, nil //nolint:nilnil // no node is no error
	}
	cfg := fromsettings.Producer(s.conf)
	cfg.Publisher, cfg.Signed = s.publisher, s.cfg.Signed
	producer, err := client.New(cfg)
	if err != nil {
		return nil, err
	}
	decoder := *s.runner.Decoder()
	if decoder.Accept, err = protocol.NewAccept("json", s.conf.EventSerializer); err != nil { // whatever tasks may come in
		return nil, err
	}
	return gossip.New(gossip.Config{
		Broadcaster: s.publisher, Hostname: s.cfg.Hostname, Clock: s.runner.Clock(), Voice: s.dispatcher, Decoder: decoder,
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
func (s *service) startGossip(ctx context.Context) (wait func()) {
	if s.node == nil {
		return func() {}
	}
	return beside(func() {
		if err := s.node.Run(ctx); err != nil {
			s.log.Error("gossip: "+err.Error(), logline.EventKey, "gossip failed", "error", err)
		}
	})
}
