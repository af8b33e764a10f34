package cli

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/python"
)

// workerBeatFlags concern the beat of a worker.
func workerBeatFlags() []cli.Flag {
	return []cli.Flag{
		toggle(beatCategory, "beat", "send periodic tasks as well, as the command beat does; every worker may", "B"),
		text(beatCategory, "scheduler", "", "", "`SCHEDULER` that has the entries, by Celery's names (beat_scheduler)"),
		text(beatCategory, "schedule", "s", "", "`FILE` of Celery's beat; not needed, as the broker keeps what was sent"),
		text(beatCategory, "database", "", "", "`URL` of the database that has the entries"),
	}
}

// readBeat warns of what means nothing without -B.
func (s *workerSettings) readBeat(c *cli.Context) error {
	for _, flag := range []string{"scheduler", "schedule", "database"} {
		if c.IsSet(flag) && !c.Bool("beat") {
			s.warn("--" + flag + " has no effect: the worker does not send periodic tasks without -B")
		}
	}
	return nil
}

// addBeat has a worker send periodic tasks, if -B says so. The returned function closes what has the entries.
func (p *program) addBeat(c *cli.Context, ctx context.Context, s *workerSettings) (end func() error, err error) { //nolint:revive // as cli's actions
	if !c.Bool("beat") {
		return func() error { return nil }, nil
	}
	given(c, "scheduler", c.String, &s.conf.BeatScheduler)
	given(c, "schedule", c.String, &s.conf.BeatScheduleFilename)
	sources, err := openScheduler(ctx, c, s.conf, s.log)
	if err != nil {
		return nil, err
	}
	s.conf.BeatScheduler = "" // it is known what that means
	known := p.reg
	if project := s.opts.Python; project != nil {
		if err := s.acceptHooks(c, project.Manifest().Hooks.Beat); err != nil {
			return nil, errors.Join(err, sources.close())
		}
		known = known.Clone()
		(&python.Periodic{Tasks: project.Manifest().Publishing}).Register(known)
	}
	s.opts.Beat = &app.BeatOptions{
		Sources: sources.sources, Registry: known, MaxInterval: cmp.Or(s.conf.BeatMaxLoopInterval, sources.maxInterval),
		Schedule: cmp.Or(s.conf.BeatScheduleID, os.Getenv("CELERY_BEAT_SCHEDULE_ID"), projectName(c.String("app"))), Logger: s.log,
	}
	return sources.close, nil
}
