package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
)

// readWaiting reads what becomes of tasks that are due later or come back too often.
func (s *workerSettings) readWaiting(c *cli.Context) error {
	if c.IsSet("park-after") {
		s.conf.ParkAfter = flagSeconds(c, "park-after")
	}
	if c.IsSet("eta-task-limit") {
		if s.conf.WorkerETATaskLimit = c.Int("eta-task-limit"); s.conf.WorkerETATaskLimit < 1 {
			return fmt.Errorf("invalid value for '--eta-task-limit': %d is not at least 1", s.conf.WorkerETATaskLimit)
		}
	}
	if c.IsSet("max-redeliveries") {
		if s.conf.MaxRedeliveries = c.Int("max-redeliveries"); s.conf.MaxRedeliveries < 0 {
			return fmt.Errorf("invalid value for '--max-redeliveries': %d is negative", s.conf.MaxRedeliveries)
		}
	}
	return nil
}

// readUnknown reads the policies for tasks that are not registered. Those of single
// queues are added to the settings'.
func (s *workerSettings) readUnknown(c *cli.Context) error {
	var named []string
	queues := s.conf.UnknownTask.Queues
	if s.conf.UnknownTask.Queues = maps.Clone(queues); queues == nil {
		s.conf.UnknownTask.Queues = map[string]tasks.UnknownPolicy{}
	}
	for _, item := range commaList(strings.Join(c.StringSlice("unknown-task"), ",")) {
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
			s.conf.UnknownTask.Default = policy
		default:
			s.conf.UnknownTask.Queues[queue] = policy
			named = append(named, queue)
		}
	}
	s.warnOfPolicies(named)
	return nil
}

// readShares reads which share of a task's messages is run here, and of which a copy is. They are added to the settings'.
func (s *workerSettings) readShares(c *cli.Context) (err error) {
	if s.conf.Share, err = readPercentages(c, "share", s.conf.Share, ""); err != nil {
		return err
	}
	s.conf.Shadow, err = readPercentages(c, "shadow", s.conf.Shadow, tasks.WholeShare.String())
	return err
}

// readPercentages adds what an option says to what is said of tasks otherwise. whole stands for a percentage that is left out.
func readPercentages(c *cli.Context, option string, before settings.Shares, whole string) (settings.Shares, error) {
	if !c.IsSet(option) {
		return before, nil
	}
	shares := settings.Shares{}
	maps.Copy(shares, before)
	for _, item := range commaList(strings.Join(c.StringSlice(option), ",")) {
		task, text, named := strings.Cut(item, "=")
		if !named {
			text = whole
		}
		share, err := tasks.ParseShare(text)
		switch {
		case task == "":
			return nil, fmt.Errorf("invalid value for '--%s': '%s' names no task", option, item)
		case err != nil:
			return nil, fmt.Errorf("invalid value for '--%s': %s: %w", option, task, err)
		}
		shares[task] = share
	}
	return shares, nil
}

// warnOfShares tells of shares that have no effect, as there is no such task.
func (p *program) warnOfShares(s *workerSettings) {
	for _, task := range slices.Sorted(maps.Keys(s.conf.Share)) {
		if entry, known := p.reg.Lookup(task); !known || !entry.InGo() {
			s.warn("The share of " + task + " has no effect: it has no handler in Go." + didYouMean(task, p.reg.Names(), ""))
		}
	}
}

// warnOfPolicies tells of policies for queues that this worker does not consume.
func (s *workerSettings) warnOfPolicies(queues []string) {
	for _, queue := range queues {
		if !slices.Contains(s.queues, queue) {
			s.warn("--unknown-task " + queue + "=… has no effect: this worker consumes " +
				strings.Join(s.queues, ", ") + "." + didYouMean(queue, s.queues, ""))
		}
	}
}
