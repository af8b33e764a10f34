package sqldb

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// dialects are the names before :// or + in SQLAlchemy's URLs.
var dialects = map[string]Dialect{
	"postgresql": PostgreSQL, "postgres": PostgreSQL, "mysql": MySQL, "mariadb": MySQL, "sqlite": SQLite,
}

// elsewhere are those that SQLAlchemy or Django know besides.
const elsewhere = "PostgreSQL, MySQL, MariaDB and SQLite are supported"

// sqlalchemyURL is a URL as SQLAlchemy takes it apart (sqlalchemy/engine/url.py: _parse_url).
// Passwords may hold a / or a #.
var sqlalchemyURL = regexp.MustCompile(`^([\w+]+)://(?:([^:/]*)(?::([^@]*))?@)?(?:\[([^/?]+)\]|([^/:?]+))?(?::([^/?]*))?(?:/([^?]*))?(?:\?(.*))?$`)

// Parse reads a URL of SQLAlchemy's: postgresql+psycopg://user:password@host:5432/name?sslmode=require,
// sqlite:////absolute/path. Of the drivers after +, pymysql checks names in certificates unless
// told not to. No error shows the password.
func Parse(text string) (*Source, error) {
	m := sqlalchemyURL.FindStringSubmatch(text)
	if m == nil {
		return nil, errors.New("this is no URL of a database: postgresql://user:password@host:5432/name is")
	}
	base, driver, _ := strings.Cut(m[1], "+")
	d, ok := dialects[base]
	if !ok {
		return nil, fmt.Errorf("there is no driver for %s://: %s", m[1], elsewhere)
	}
	at := address{host: m[4] + m[5], port: m[6], name: m[7], driver: driver}
	var err error
	if at.user, err = url.PathUnescape(m[2]); err != nil {
		return nil, errors.New("the user in the database's URL: a % begins an escape, and stands as %25 for itself")
	}
	if at.password, err = url.PathUnescape(m[3]); err != nil {
		return nil, errors.New("the password in the database's URL: a % begins an escape, and stands as %25 for itself")
	}
	query, err := url.ParseQuery(m[8])
	if err != nil {
		return nil, errors.New("the query of the database's URL cannot be read")
	}
	at.options = make(map[string]string, len(query))
	for name, values := range query {
		at.options[name] = strings.Join(values, ",")
	}
	s, err := newSource(d, at)
	if err != nil {
		return nil, fmt.Errorf("%s://: %w", m[1], err)
	}
	return s, nil
}

// list returns the names of options in order.
func list(options map[string]string) string {
	return "'" + strings.Join(slices.Sorted(maps.Keys(options)), "', '") + "'"
}
