package djangobeat

import (
	"strings"

	"github.com/apium/apium/internal/sqldb"
)

// layout is what the tables of a package are called, and which columns they have.
type layout struct {
	name string // of the source
	app  string // begins the names of tables, and is what migrate makes them of
	old  bool   // these are django-celery's, which have less
}

var (
	celeryBeat = layout{name: "django", app: "django_celery_beat"}
	djcelery   = layout{name: "djcelery", app: "djcelery", old: true}
)

func (l layout) table(d sqldb.Dialect, name string) string { return d.Quote(l.app + "_" + name) }

// selectRows begins the statement that reads rows; its columns are those of row.scan.
func (l layout) selectRows(d sqldb.Dialect) string {
	newer := func(columns string) string {
		if !l.old {
			return columns
		}
		n := strings.Count(columns, ",")
		return "NULL" + strings.Repeat(", NULL", n)
	}
	const always = `t.id, t.name, t.task, t.args, t.kwargs, t.queue, t.exchange, t.routing_key, t.expires, t.enabled,
		t.last_run_at, t.total_run_count, t.date_changed,
		t.interval_id, i.every, i.period, t.crontab_id, c.minute, c.hour, c.day_of_week, c.day_of_month, c.month_of_year, `
	columns := always + newer(`c.timezone, t.headers, t.priority, t.expire_seconds, t.one_off, t.start_time,
		t.solar_id, s.event, s.latitude, s.longitude, t.clocked_id, k.clocked_time`)
	from := " FROM " + l.table(d, "periodictask") + " t" +
		" LEFT JOIN " + l.table(d, "intervalschedule") + " i ON i.id = t.interval_id" +
		" LEFT JOIN " + l.table(d, "crontabschedule") + " c ON c.id = t.crontab_id"
	if !l.old {
		from += " LEFT JOIN " + l.table(d, "solarschedule") + " s ON s.id = t.solar_id" +
			" LEFT JOIN " + l.table(d, "clockedschedule") + " k ON k.id = t.clocked_id"
	}
	return "SELECT " + columns + from
}
