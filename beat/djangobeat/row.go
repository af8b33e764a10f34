package djangobeat

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/protocol/pyjson"
)

// row is a PeriodicTask, with the schedule that it refers to.
type row struct {
	id                          int64
	name, task                  string
	args, kwargs, headers       sql.NullString
	queue, exchange, routingKey sql.NullString
	priority, expireSeconds     sql.NullInt64
	expires, startTime          time.Time // zero: null
	oneOff                      sql.NullBool
	enabled                     bool
	lastRunAt, dateChanged      time.Time // zero: null
	totalRunCount               int
	intervalID                  sql.NullInt64
	every                       sql.NullInt64
	period                      sql.NullString
	crontabID                   sql.NullInt64
	minute, hour, dayOfWeek     sql.NullString
	dayOfMonth, monthOfYear     sql.NullString
	timezone                    sql.NullString
	solarID                     sql.NullInt64
	event                       sql.NullString
	latitude, longitude         sql.NullFloat64
	clockedID                   sql.NullInt64
	clockedTime                 time.Time
}

// scan reads the columns of layout.selectRows.
func (r *row) scan(db *sqldb.DB, rows *sql.Rows) error {
	return rows.Scan(&r.id, &r.name, &r.task, &r.args, &r.kwargs, &r.queue, &r.exchange, &r.routingKey, db.Time(&r.expires), &r.enabled,
		db.Time(&r.lastRunAt), &r.totalRunCount, db.Time(&r.dateChanged),
		&r.intervalID, &r.every, &r.period, &r.crontabID, &r.minute, &r.hour, &r.dayOfWeek, &r.dayOfMonth, &r.monthOfYear,
		&r.timezone, &r.headers, &r.priority, &r.expireSeconds, &r.oneOff, db.Time(&r.startTime),
		&r.solarID, &r.event, &r.latitude, &r.longitude, &r.clockedID, db.Time(&r.clockedTime))
}

// fill sets all of an entry that its row says. zone is that of crontabs without one.
func (r *row) fill(e *beat.Entry, zone *time.Location, l layout) error {
	s, err := r.schedule(zone)
	if err != nil {
		return err
	}
	definition, err := json.Marshal(s)
	if err != nil {
		return err
	}
	e.Schedule, e.Definition = s, string(definition)
	if e.Args, err = document(r.args, '[', "args"); err != nil {
		return err
	}
	if e.Kwargs, err = document(r.kwargs, '{', "kwargs"); err != nil {
		return err
	}
	e.Options, err = r.options(l)
	return err
}

// fillTimes sets what a row says of runs, and of the time in which there are any.
func (r *row) fillTimes(e *beat.Entry) {
	e.LastRunAt, e.TotalRunCount = r.lastRunAt, r.totalRunCount
	e.StartTime, e.Expires, e.OneOff = r.startTime, r.expires, r.oneOff.Bool
	switch {
	case !r.lastRunAt.IsZero():
	case !r.startTime.IsZero():
		e.Since = never // whatever was due since the start is, however late
	default:
		e.Since = r.dateChanged
	}
}

// never stands for the last run of what has not run.
var never = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)

// schedule is the one that a row refers to; of several, the one that Django takes.
func (r *row) schedule(zone *time.Location) (schedule.Schedule, error) {
	switch {
	case r.period.Valid:
		return r.interval()
	case r.minute.Valid:
		return r.crontab(zone)
	case r.event.Valid:
		return r.solar()
	case !r.clockedTime.IsZero():
		return r.clocked(), nil
	case r.intervalID.Valid, r.crontabID.Valid, r.solarID.Valid, r.clockedID.Valid:
		return nil, errors.New("its schedule was removed from the database")
	}
	return nil, errors.New("it has no schedule: one of interval, crontab, solar and clocked must be set")
}

// periods are the units of intervals.
var periods = map[string]time.Duration{
	"days": 24 * time.Hour, "hours": time.Hour, "minutes": time.Minute, "seconds": time.Second, "microseconds": time.Microsecond,
}

func (r *row) interval() (schedule.Schedule, error) {
	unit, ok := periods[r.period.String]
	switch {
	case !ok:
		return nil, fmt.Errorf("interval: the period %q is none of days, hours, minutes, seconds and microseconds", r.period.String)
	case r.every.Int64 <= 0:
		return nil, fmt.Errorf("interval: every %d %s is not possible", r.every.Int64, r.period.String)
	case r.every.Int64 > math.MaxInt64/int64(unit):
		return nil, fmt.Errorf("interval: every %d %s is too long: 292 years are the most", r.every.Int64, r.period.String)
	}
	every, err := schedule.NewEvery(time.Duration(r.every.Int64) * unit)
	if err != nil {
		return nil, fmt.Errorf("interval: %w", err)
	}
	return every, nil
}

func (r *row) crontab(zone *time.Location) (schedule.Schedule, error) {
	if zone == nil {
		var err error
		if zone, err = time.LoadLocation(r.timezone.String); err != nil {
			return nil, fmt.Errorf("crontab: timezone: %w", err)
		}
	}
	c, err := schedule.NewCrontab(schedule.Fields{
		Minute: r.minute.String, Hour: r.hour.String, DayOfMonth: r.dayOfMonth.String,
		MonthOfYear: r.monthOfYear.String, DayOfWeek: r.dayOfWeek.String,
	}, zone)
	if err != nil {
		return nil, fmt.Errorf("crontab: %w", err)
	}
	return c, nil
}

func (r *row) solar() (schedule.Schedule, error) {
	number := func(f sql.NullFloat64) string { return strconv.FormatFloat(f.Float64, 'f', 6, 64) } // of decimal(9, 6)
	s, err := schedule.Decode(fmt.Appendf(nil, `{"solar": {"event": %q, "lat": %s, "lon": %s}}`, r.event.String, number(r.latitude), number(r.longitude)), nil)
	if err != nil {
		return nil, fmt.Errorf("solar: %w", err)
	}
	return s, nil
}

// clocked is due at its time, or, where the row was saved after it, right then: whoever saves it, or enables
// it again, wants a run.
func (r *row) clocked() *schedule.At {
	at := r.clockedTime
	if !r.dateChanged.Before(at) {
		at = r.dateChanged.Add(time.Microsecond)
	}
	return schedule.NewAt(at)
}

// document is a column with JSON of a kind; an empty one is none.
func document(column sql.NullString, kind byte, name string) (json.RawMessage, error) {
	if column.String == "" {
		return nil, nil
	}
	raw := json.RawMessage(column.String)
	if err := pyjson.Valid(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if pyjson.Kind(raw) != kind {
		return nil, fmt.Errorf("%s: a %s, and must be a %s", name, pyjson.PythonType(raw), map[byte]string{'[': "list", '{': "dict"}[kind])
	}
	return pyjson.Reencode(nil, raw) // as Python would write what it has read
}
