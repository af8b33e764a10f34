package app

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/tasks"
)

const (
	// consumersTimeout is how long the workers are waited for that are asked what they consume.
	consumersTimeout = 2 * time.Second
	// consumersAgain is when they are asked once more: those started together with this one
	// need a moment.
	consumersAgain = 10 * time.Second
)

// forwardedTo are the queues to which the consumed queues' unknown tasks go.
func (w *Worker) forwardedTo() []string {
	targets := map[string]bool{}
	for _, q := range w.places.Queues {
		policy, own := w.cfg.UnknownByQueue[q.Name]
		if !own {
			policy = w.cfg.Unknown
		}
		if policy.Action == tasks.UnknownForward && policy.Queue != q.Name {
			targets[policy.Queue] = true
		}
	}
	return slices.Sorted(maps.Keys(targets))
}

// watchForwarding finds out, beside the worker, whether anybody else consumes the queues that
// unknown tasks are forwarded to, and warns of those that nobody does. The workers know:
// Python's and ours answer what they consume, and nothing in Redis says so of both.
func (s *service) watchForwarding(ctx context.Context) (wait func()) {
	idle := s.forwardedTo()
	if len(idle) == 0 {
		return func() {}
	}
	client := s.operator()
	return beside(func() {
		for _, pause := range []time.Duration{0, s.asksAgain} {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			replies, err := client.Ask(ctx, control.Question{Command: "active_queues", Timeout: consumersTimeout}, nil)
			if err != nil && len(replies) == 0 {
				return // the broker is away: there are other lines about that
			}
			if idle = s.unconsumed(idle, replies); len(idle) == 0 {
				return
			}
		}
		for _, queue := range idle {
			s.log.Warn("Tasks that are not registered here are forwarded to queue "+queue+
				", and no other worker that answers remote control consumes it: they wait there until one does",
				logline.EventKey, "Nobody consumes the queue that tasks are forwarded to", "queue", queue)
		}
	})
}

// unconsumed drops the queues that another worker says it consumes. One beside this worker may
// have the same node name, and is known by what it consumes.
func (w *Worker) unconsumed(queues []string, replies []control.Reply) []string {
	return slices.DeleteFunc(queues, func(name string) bool {
		own := slices.ContainsFunc(w.places.Queues, func(q broker.Queue) bool { return q.Name == name })
		return slices.ContainsFunc(replies, func(r control.Reply) bool {
			var consumed []struct {
				Name string `json:"name"`
			}
			if own && r.Node == w.cfg.Hostname || json.Unmarshal(r.Value, &consumed) != nil {
				return false
			}
			for _, q := range consumed {
				if q.Name == name {
					return true
				}
			}
			return false
		})
	})
}
