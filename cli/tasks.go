package cli

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/build"
	"github.com/apium/apium/python"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sample"
)

// demoTasksFlag lets a program without tasks of its own work for a broker that may be a
// project's.
const demoTasksFlag = "demo-tasks"

// warnOfLost tells Go handlers of settings that only Python knows.
func (p *program) warnOfLost(s *workerSettings, project *python.App) {
	inGo := func(name string) bool { entry, ok := p.reg.Lookup(name); return ok && entry.InGo() }
	if project == nil || !slices.ContainsFunc(p.reg.Names(), inGo) {
		return
	}
	lost := project.Manifest().Lost
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		s.warn(name + " is known to Python only (" + lost[name] + "): what Go handlers publish does without")
	}
}

// checkTasks refuses to work for somebody's broker with nothing but sample tasks: what
// waits there would be failed as unknown at the first contact. A program without any task
// is warned.
func (p *program) checkTasks(c *cli.Context, s *workerSettings) error {
	fails := s.conf.UnknownTask.Default.Action == tasks.UnknownFail
	switch {
	case s.opts.Python != nil || s.embedded || c.Bool(demoTasksFlag):
	case sample.Only(p.reg):
		return errors.New("this program has only the sample tasks " + strings.Join(p.reg.Names(), ", ") + ".\n" +
			"It would fail and drop every other task that waits at the broker. Either build a program with\n" +
			"tasks of your own (ten lines: https://" + build.Module + "#ten-lines-of-go), or, for a broker\n" +
			"where only these are sent, say --" + demoTasksFlag + ". --embedded tries them without a broker")
	case len(p.reg.Names()) == 0 && fails:
		s.warn("No tasks are registered: all but Celery's own will fail (see --unknown-task)")
	}
	return nil
}
