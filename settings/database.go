package settings

import "encoding/json"

// Database is a database with tables of Django's. The zero value is none.
type Database struct {
	URL    string          // as SQLAlchemy has it: postgresql://user:password@host:5432/name
	Django json.RawMessage // else an entry of Django's DATABASES, with TIME_ZONE: the zone of dates that have none
}

// IsZero reports whether none was given.
func (b *Database) IsZero() bool { return b.URL == "" && b.Django == nil }

func (b *Database) decode(d *decoder, value any) {
	*b = Database{}
	if o, ok := value.(object); ok {
		b.Django = rawJSON(nil, o)
		return
	}
	d.assign(&b.URL, value)
}

func (b *Database) encode() any {
	if b.Django != nil {
		if value, err := parseJSONValue(b.Django); err == nil {
			return value
		}
	}
	return encodeText(b.URL)
}
