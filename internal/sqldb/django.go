package sqldb

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// engines are Django's database engines, and those that stand for them, by their last word.
var engines = map[string]Dialect{
	"postgresql": PostgreSQL, "postgresql_psycopg2": PostgreSQL, "postgis": PostgreSQL,
	"mysql": MySQL, "sqlite3": SQLite, "spatialite": SQLite,
}

// djangoDatabase is an entry of DATABASES.
type djangoDatabase struct {
	Engine   string                     `json:"ENGINE"`
	Name     string                     `json:"NAME"`
	User     string                     `json:"USER"`
	Password string                     `json:"PASSWORD"`
	Host     string                     `json:"HOST"`
	Port     any                        `json:"PORT"`
	Options  map[string]json.RawMessage `json:"OPTIONS"`
	// TimeZone is the zone of dates in columns without one. It is what Django calls the
	// connection's timezone_name: with USE_TZ mostly UTC, else TIME_ZONE.
	TimeZone string `json:"TIME_ZONE"`
}

// FromDjango reads an entry of Django's DATABASES, as JSON: ENGINE, NAME, USER, PASSWORD, HOST,
// PORT, OPTIONS and TIME_ZONE, which is the connection's timezone_name. No error shows the password.
func FromDjango(entry []byte) (*Source, error) {
	var e djangoDatabase
	if err := json.Unmarshal(entry, &e); err != nil {
		return nil, fmt.Errorf("the entry of Django's DATABASES cannot be read: %w", err)
	}
	d, ok := engines[e.Engine[strings.LastIndexByte(e.Engine, '.')+1:]]
	if !ok {
		// What wraps an engine has a package's name before /base: django_prometheus.db.backends.postgresql.
		return nil, fmt.Errorf("the database engine '%s' of Django's DATABASES: there is no driver: %s", e.Engine, elsewhere)
	}
	at := address{user: e.User, password: e.Password, host: e.Host, name: e.Name, options: map[string]string{}}
	if e.Port != nil {
		at.port = fmt.Sprint(e.Port)
	}
	for name, raw := range e.Options {
		if err := flatten(at.options, name, raw); err != nil {
			return nil, fmt.Errorf("DATABASES: OPTIONS: %s: %w", name, err)
		}
	}
	s, err := newSource(d, at)
	if err != nil {
		return nil, fmt.Errorf("entry of Django's DATABASES, %s: %w", e.Engine, err)
	}
	if e.TimeZone != "" {
		if s.Location, err = time.LoadLocation(e.TimeZone); err != nil {
			return nil, fmt.Errorf("entry of Django's DATABASES: TIME_ZONE: %w", err)
		}
	}
	return s, nil
}

// flatten writes an option as URLs have it: {"ssl": {"ca": "x"}} is ssl_ca.
func flatten(into map[string]string, name string, raw json.RawMessage) error {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
	case string:
		into[name] = value
	case bool:
		into[name] = fmt.Sprint(value)
	case float64:
		into[name] = string(raw)
	case map[string]any:
		if name != "ssl" {
			into[name] = string(raw)
			break
		}
		inner := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &inner); err != nil {
			return err
		}
		for key, raw := range inner {
			if err := flatten(into, name+"_"+key, raw); err != nil {
				return err
			}
		}
	default:
		into[name] = string(raw)
	}
	return nil
}
