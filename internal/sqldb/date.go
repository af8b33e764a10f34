package sqldb

import (
	"fmt"
	"time"
)

// sqliteDate is how Django and SQLAlchemy write dates as text. Django leaves out a fraction of 0:
// as text, both compare alike.
const sqliteDate = "2006-01-02 15:04:05.000000"

// Date returns a time as an argument of a statement.
func (db *DB) Date(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Microsecond)
	switch db.Dialect {
	case SQLite:
		return t.In(db.location).Format(sqliteDate)
	case MySQL: // the driver knows the zone
		return t
	default:
		return t.UTC()
	}
}

// Time reads a date into a time.Time, in UTC; NULL is the zero time. It is an argument of Scan.
func (db *DB) Time(into *time.Time) any { return &scanned{into, db.location} }

type scanned struct {
	into     *time.Time
	location *time.Location
}

// Scan implements sql.Scanner.
func (s *scanned) Scan(value any) error {
	var text string
	switch value := value.(type) {
	case nil:
		*s.into = time.Time{}
		return nil
	case time.Time:
		*s.into = value.UTC()
		return nil
	case string:
		text = value
	case []byte:
		text = string(value)
	default:
		return fmt.Errorf("sqldb: %T is no date", value)
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, s.location); err == nil {
			*s.into = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("sqldb: %q is no date", text)
}
