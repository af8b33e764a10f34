package worker

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/publish"
	"github.com/apium/apium/protocol/canvas"
)

// publish sends the messages of a group that do not go along with an acknowledgement, in one
// call if they are not too large for that. What follows a task whose lease was lost is left to
// whoever runs it now.
func (s *lane) publish(ctx context.Context, group []settlement, of func(*flow) []publish.Message) {
	all := s.outgoing[:0]
	for i := range group {
		if f := group[i].flow; f != nil && !group[i].req.lost.Load() && !s.concludes(&group[i]) {
			all = append(all, of(f)...)
		}
	}
	s.outgoing = all
	s.sender.SendEach(ctx, all, s.log.unpublished)
	clear(all)
}

// newSender publishes for a settler: until it works, or the broker refuses it.
func newSender(publisher broker.Publisher, hooks *hooks, p *persister) *publish.Sender {
	return &publish.Sender{
		Publisher: publisher, After: hooks.afterPublish,
		Try: func(ctx context.Context, call func() error) (last error) {
			p.persist(ctx, "publish messages", func() error {
				last = call()
				if broker.Refusals(last) != nil {
					return nil
				}
				return last
			})
			return last
		},
	}
}

// newMaker makes the messages of what a worker publishes.
func newMaker(cfg *Config, stored backend.Abilities, hooks *hooks, options func(task string) (canvas.Options, bool)) (*publish.Maker, error) {
	return publish.NewMaker(publish.Config{
		Environment: canvas.Environment{
			Origin: fmt.Sprintf("gen%d@%s", os.Getpid(), cfg.Hostname[strings.IndexByte(cfg.Hostname, '@')+1:]),
			Task:   options, Check: cfg.Registry.CheckCall,
			Route: cfg.Route, Queue: cfg.Destination, DefaultQueue: cfg.DefaultQueue, ErrbacksOnHeader: cfg.ErrbacksOnHeader,
			Chords: publish.Keeping(stored),
		},
		Serializer: cfg.TaskSerializer, Signed: cfg.Signed, Compression: cfg.TaskCompression, Before: hooks.beforePublish,
	})
}
