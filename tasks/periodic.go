package tasks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/protocol/canvas"
)

// Periodic is a call that is sent whenever it is due, by beat: an entry of Python's beat_schedule.
type Periodic struct {
	Name      string
	Signature canvas.Signature
	// StartingDeadline is how late it may be sent, if it is due by a crontab; nil: as the settings say.
	StartingDeadline *time.Duration

	line     string            // a crontab; "": schedule
	schedule schedule.Schedule // for a line, on the clock of UTC
	zone     *time.Location    // of the line; nil: the setting timezone
}

// Schedule says when it is due. zone is the setting timezone; nil: UTC.
func (p *Periodic) Schedule(zone *time.Location) schedule.Schedule {
	if p.line == "" {
		return p.schedule
	}
	if p.zone != nil {
		zone = p.zone
	}
	s, err := schedule.ParseCrontab(p.line, zone)
	if err != nil { // it was read when it was registered
		panic(fmt.Sprintf("tasks: %v", err))
	}
	return s
}

// PeriodicOption is an option of a periodic task.
type PeriodicOption interface{ setPeriodic(*Periodic) }

type periodicOption func(*Periodic)

func (f periodicOption) setPeriodic(p *Periodic) { f(p) }

// PeriodicName is the name of the entry, in logs and in apium beat list. Default: the name of its task.
func PeriodicName(name string) PeriodicOption {
	return periodicOption(func(p *Periodic) { p.Name = name })
}

// Zone is the zone of a crontab. Default: the setting timezone.
func Zone(zone *time.Location) PeriodicOption {
	return periodicOption(func(p *Periodic) { p.zone = zone })
}

// StartingDeadline is how late a task may be sent that is due by a crontab, when no beat has run
// meanwhile. Default: the setting beat_cron_starting_deadline.
func StartingDeadline(d time.Duration) PeriodicOption {
	return periodicOption(func(p *Periodic) { p.StartingDeadline = &d })
}

// Periodic adds a call that beat sends whenever it is due: of a task that runs anywhere, or of a chain,
// group or chord. when is one of
//
//   - a crontab in Celery's syntax: "*/5 8-18 * * mon-fri" is minute, hour, day of the month, month and
//     day of the week; see [schedule.ParseCrontab]
//   - an interval, a time.Duration
//   - any other [schedule.Schedule]
//
// Options that tasks are published with, such as Queue and Expires, are options here as well. An entry of
// beat_schedule, or of a scheduler's database, with the same name takes its place.
//
// It panics when the name is taken, or when the call or the schedule cannot be: TryPeriodic returns
// an error.
func (r *Registry) Periodic(when any, sig canvas.Signature, opts ...PeriodicOption) {
	if err := r.addPeriodic(when, sig, opts); err != nil {
		panic(fmt.Sprintf("tasks: %s: %v", called("Periodic", sig.Task()), err))
	}
}

// TryPeriodic is Periodic that returns what is wrong instead of panicking. The registry is then as it was.
func (r *Registry) TryPeriodic(when any, sig canvas.Signature, opts ...PeriodicOption) error {
	if err := r.addPeriodic(when, sig, opts); err != nil {
		return fmt.Errorf("tasks: %q cannot be a periodic task: %w", sig.Task(), err)
	}
	return nil
}

func (r *Registry) addPeriodic(when any, sig canvas.Signature, opts []PeriodicOption) error {
	p := &Periodic{Signature: sig, Name: sig.Task()}
	for _, opt := range opts {
		opt.setPeriodic(p)
	}
	if _, err := p.Signature.MarshalJSON(); sig.IsZero() || err != nil {
		return errors.Join(errors.New("there is nothing to call"), err)
	}
	if err := p.setSchedule(when); err != nil {
		return err
	}
	if p.StartingDeadline != nil && *p.StartingDeadline < 0 {
		return errors.New("StartingDeadline must not be negative")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i, taken := slices.BinarySearchFunc(r.periodic, p.Name, func(p *Periodic, name string) int { return strings.Compare(p.Name, name) })
	if taken {
		return fmt.Errorf("a periodic task named %q is registered already: name this one with PeriodicName", p.Name)
	}
	r.periodic = slices.Insert(r.periodic, i, p)
	return nil
}

func (p *Periodic) setSchedule(when any) (err error) {
	switch when := when.(type) {
	case string:
		p.line = when
		p.schedule, err = schedule.ParseCrontab(when, nil)
		return err
	case time.Duration:
		p.schedule, err = schedule.NewEvery(when)
	case schedule.Schedule:
		p.schedule = when
	default:
		return fmt.Errorf("%T is no schedule: it is a crontab, a time.Duration or a schedule.Schedule", when)
	}
	if err == nil && p.zone != nil {
		return errors.New("Zone is that of a crontab's text")
	}
	return err
}

// PeriodicTasks returns what Periodic has added, in alphabetical order.
func (r *Registry) PeriodicTasks() []*Periodic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.periodic)
}

// Periodic has beat send a call of the task whenever it is due, as Registry.Periodic does, and panics as that does.
// The task itself may be registered elsewhere.
func (t *Task[A, R]) Periodic(reg *Registry, when any, args A, opts ...PeriodicOption) {
	reg.Periodic(when, t.S(args).Set(t.options.published()...), opts...)
}

// TryPeriodic is Periodic that returns what is wrong instead of panicking.
func (t *Task[A, R]) TryPeriodic(reg *Registry, when any, args A, opts ...PeriodicOption) error {
	return reg.TryPeriodic(when, t.S(args).Set(t.options.published()...), opts...)
}
