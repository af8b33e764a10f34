package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/serializer"
)

var errNothing = errors.New("client: an empty chain: there is nothing to send")

// carryOut does what plans say. Sizes of chords and records of groups come before all
// messages: a member of a chord may be done before its siblings are published.
func (c *Client) carryOut(ctx context.Context, plans ...*canvas.Plan) ([]*AsyncResult, error) {
	s := sending{ignored: map[string]bool{}}
	results := make([]*AsyncResult, len(plans))
	for i, plan := range plans {
		if plan.Result == nil {
			return nil, errNothing
		}
		if err := c.add(ctx, &s, plan); err != nil {
			return nil, err
		}
		results[i] = c.resultOf(plan.Result)
		results[i].ignored = s.ignored[plan.Result.ID]
	}
	if err := c.prepare(ctx, s.prepare); err != nil {
		return nil, err
	}
	if err := c.publish(ctx, &s); err != nil {
		return nil, err
	}
	if c.cfg.AfterPublish != nil {
		for _, task := range s.tasks {
			c.cfg.AfterPublish(ctx, task)
		}
	}
	return results, nil
}

// sending is what goes out in one call.
type sending struct {
	prepare  []canvas.Step // sizes of chords, records of groups
	messages []broker.Publication
	tasks    []*protocol.Task // of the messages
	first    *canvas.Publish  // whose retry options hold for all
	ignored  map[string]bool  // ids of tasks that will have no result
}

func (c *Client) add(ctx context.Context, s *sending, plan *canvas.Plan) error {
	for _, step := range plan.Steps {
		message, ok := step.(canvas.Publish)
		if !ok {
			s.prepare = append(s.prepare, step)
			continue
		}
		task := message.Task
		if c.cfg.BeforePublish != nil {
			c.cfg.BeforePublish(ctx, task)
		}
		encoded, err := c.encode(&message)
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		s.tasks = append(s.tasks, task)
		if s.first == nil {
			s.first = &message
		}
		if task.IgnoreResult != nil && *task.IgnoreResult {
			s.ignored[task.ID] = true
		}
		s.messages = append(s.messages, broker.Publication{
			Exchange: task.Exchange, ExchangeType: message.ExchangeType, RoutingKey: task.RoutingKey, Message: encoded,
		})
		if c.cfg.TaskSent != nil {
			s.messages = append(s.messages, c.cfg.TaskSent(task))
		}
	}
	return nil
}

// encode makes the message of a step, in the form that its options ask for.
func (c *Client) encode(step *canvas.Publish) (protocol.Message, error) {
	step.Publication.Format = c.format
	if step.Serializer != "" || step.Compression != "" {
		format, err := serializer.Format(cmp.Or(step.Serializer, c.cfg.Serializer), cmp.Or(step.Compression, c.cfg.Compression))
		if err != nil {
			return protocol.Message{}, fmt.Errorf("task %s: %w", step.Task.Name, err)
		}
		step.Publication.Format = format
	}
	return protocol.EncodeTask(step.Task, step.Publication)
}

// prepare writes what must be in the backend before the messages. The steps concern
// different groups, so they need not wait for each other.
func (c *Client) prepare(ctx context.Context, steps []canvas.Step) error {
	if len(steps) == 0 {
		return nil
	}
	if c.chords == nil || c.groups == nil {
		return ErrNoChords
	}
	var all sync.WaitGroup
	errs := make([]error, len(steps))
	for i, step := range steps {
		all.Go(func() { errs[i] = c.prepareStep(ctx, step) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("client: prepare a chord: %w", err)
	}
	return nil
}

func (c *Client) prepareStep(ctx context.Context, step canvas.Step) error {
	switch step := step.(type) {
	case canvas.SetChordSize:
		return c.chords.SetSize(ctx, step.GroupID, step.Size)
	case canvas.GrowChord:
		return c.chords.Grow(ctx, step.GroupID, 1)
	case canvas.SaveGroup:
		return c.groups.SaveGroup(ctx, step.GroupID, step.Record)
	}
	return nil
}

// publish sends the messages, again if need be.
func (c *Client) publish(ctx context.Context, s *sending) error {
	if len(s.messages) == 0 {
		return nil // an empty group
	}
	policy, err := c.retryPolicy(s.first)
	if err != nil {
		return fmt.Errorf("client: task %s: %w", s.first.Task.Name, err)
	}
	err = tryPublishing(ctx, policy, func() error { return c.cfg.Publisher.Publish(ctx, s.messages...) })
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}
