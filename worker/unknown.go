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

// unknownTasks answers for messages whose tasks are not registered, as the policies say, and for those
// that are not in the share of their task.
type unknownTasks struct {
	policy   tasks.UnknownPolicy
	byQueue  map[string]tasks.UnknownPolicy
	handover *handover
	fail     func(*request)
	bury     func(r *request, reason, detail string)
}

// answer takes a message that nothing here is to run.
func (u *unknownTasks) answer(r *request) {
	policy := u.policyOf(r)
	switch policy.Action {
	case tasks.UnknownForward, tasks.UnknownLeave:
		u.handover.take(r, policy.Action == tasks.UnknownLeave)
	case tasks.UnknownPark:
		u.bury(r, ReasonUnregistered, r.Name)
	default:
		u.fail(r)
	}
}

// policyOf is the policy for a message: that of its queue.
func (u *unknownTasks) policyOf(r *request) tasks.UnknownPolicy {
	policy, ok := u.byQueue[r.Queue]
	if !ok {
		policy = u.policy
	}
	back := policy.Action == tasks.UnknownForward && policy.Queue == r.Queue // it came to where it is forwarded to
	switch {
	case r.left && (back || policy.Action == tasks.UnknownFail || policy.Action == tasks.UnknownPark):
		return tasks.UnknownPolicy{Action: tasks.UnknownLeave} // nothing is wrong with it
	case back:
		return tasks.UnknownPolicy{} // nobody knows it
	}
	return policy
}
