package worker

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/tasks"
)

func (c *Config) validatePolicies() (errs []error) {
	moves := c.Consumer == nil || broker.AbilitiesOf(c.Consumer).Mover != nil // nil: not known yet
	check := func(where string, p tasks.UnknownPolicy) {
		switch {
		case p.Action == tasks.UnknownForward && p.Queue == "":
			errs = append(errs, fmt.Errorf("worker: %s: forward needs a queue", where))
		case (p.Action == tasks.UnknownForward || p.Action == tasks.UnknownPark) && !moves:
			errs = append(errs, fmt.Errorf("worker: %s: %T cannot move messages", where, c.Consumer))
		}
	}
	check("Unknown", c.Unknown)
	for _, queue := range slices.Sorted(maps.Keys(c.UnknownByQueue)) {
		p := c.UnknownByQueue[queue]
		check("UnknownByQueue["+queue+"]", p)
		if p.Action == tasks.UnknownForward && p.Queue == queue {
			errs = append(errs, errors.New("worker: UnknownByQueue["+queue+"] forwards the queue to itself"))
		}
	}
	return errs
}

// unknownTasks answers for messages whose tasks are not registered, as the policies say.
type unknownTasks struct {
	policy   tasks.UnknownPolicy
	byQueue  map[string]tasks.UnknownPolicy
	handover *handover
	fail     func(*request)
	bury     func(r *request, reason, detail string)
}

// answer takes a message whose task is not registered.
func (u *unknownTasks) answer(r *request) {
	policy := u.policyOf(r.Queue)
	switch policy.Action {
	case tasks.UnknownForward, tasks.UnknownLeave:
		u.handover.take(r, policy.Action == tasks.UnknownLeave)
	case tasks.UnknownPark:
		u.bury(r, ReasonUnregistered, r.Name)
	default:
		u.fail(r)
	}
}

// policyOf is the policy for the messages of a queue.
func (u *unknownTasks) policyOf(queue string) tasks.UnknownPolicy {
	policy, ok := u.byQueue[queue]
	if !ok {
		policy = u.policy
	}
	if policy.Action == tasks.UnknownForward && policy.Queue == queue {
		return tasks.UnknownPolicy{} // it came back to where it is forwarded to: nobody knows it
	}
	return policy
}
