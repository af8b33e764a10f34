package beat

import (
	"encoding/json"
	"time"

	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/protocol/canvas"
)

// Entry is one periodic task: what Celery calls a ScheduleEntry.
type Entry struct {
	Name string // unique in its source
	Task string // name of the task

	Args    json.RawMessage // JSON array; nil: none
	Kwargs  json.RawMessage // JSON object; nil: none
	Options json.RawMessage // those of apply_async, a JSON object; nil: none. Headers of a source's own are in it

	// Signature is what is called instead of Task with Args, Kwargs and Options: a chain, for one. Zero: those.
	Signature canvas.Signature

	Schedule schedule.Schedule
	// Definition is all that decides when the entry is due, in any form that stays the same while that
	// does. When it changes, what was due before is forgotten. "": the JSON of Schedule.
	Definition string

	// LastRunAt and TotalRunCount are what the source knows of runs, such as those that Python's beat has
	// sent. They matter where they are later, or more, than what is known here. Zero: nothing.
	LastRunAt     time.Time
	TotalRunCount int
	// Since is the time after which a first run is due, if there was none. Zero: from when the entry is
	// first seen; so a new entry does not run at once.
	Since time.Time

	// StartTime is a time before which nothing is due: an interval's first run is due at it, that of
	// other schedules at their first time after it. Zero: there is none.
	StartTime time.Time
	// Expires is a time from which nothing is due any more. Zero: there is none.
	Expires time.Time
	// OneOff ends the entry with its first run.
	OneOff bool

	// StartingDeadline is how late a run may be sent that is due by a crontab; nil: as Config says.
	StartingDeadline *time.Duration

	// Disabled keeps the entry from running, and those of its name in later sources.
	Disabled bool
	// Err says why the entry cannot run; nil: it can. It is logged once, and shown by `apium beat list`.
	Err error
}
