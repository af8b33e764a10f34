package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/tasks"
)

// readWaiting reads what becomes of tasks that are due later or come back too often.
func (s *workerSettings) readWaiting(c *cli.Context) error {
	if c.IsSet("park-after") {
		s.worker.ParkAfter = flagSeconds(c, "park-after")
	}
	if c.IsSet("eta-task-limit") {
		if s.worker.ETATaskLimit = c.Int("eta-task-limit"); s.worker.ETATaskLimit < 1 {
			return fmt.Errorf("invalid value for '--eta-task-limit': %d is not at least 1", s.worker.ETATaskLimit)
		}
	}
	if c.IsSet("max-redeliveries") {
		switch s.worker.MaxRedeliveries = c.Int("max-redeliveries"); {
		case s.worker.MaxRedeliveries < 0:
			return fmt.Errorf("invalid value for '--max-redeliveries': %d is negative", s.worker.MaxRedeliveries)
		case s.worker.MaxRedeliveries == 0:
			s.worker.MaxRedeliveries = -1 // no limit
		}
	}
	return nil
}

// readUnknown reads the policies for tasks that are not registered. Those of single
// queues are added to the settings'.
func (s *workerSettings) readUnknown(c *cli.Context) error {
	var named []string
	for _, given := range c.StringSlice("unknown-task") {
		for _, item := range commaList(given) {
			queue, text, single := strings.Cut(item, "=")
			if !single {
				queue, text = "*", item
			}
			policy, err := tasks.ParseUnknownPolicy(text)
			switch {
			case err != nil:
				return fmt.Errorf("invalid value for '--unknown-task': %w", err)
			case queue == "":
				return fmt.Errorf("invalid value for '--unknown-task': '%s' names no queue", item)
			case policy.Action == tasks.UnknownForward && policy.Queue == queue:
				return fmt.Errorf("invalid value for '--unknown-task': '%s' forwards a queue to itself", item)
			case queue == "*":
				s.worker.Unknown = policy
			default:
				s.worker.UnknownByQueue[queue] = policy
				named = append(named, queue)
			}
		}
	}
	s.warnOfPolicies(named)
	return nil
}
