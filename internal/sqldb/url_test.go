package sqldb_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/internal/sqldb"
)

// URLs as SQLAlchemy reads them, and what is shown of them.
func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		dialect sqldb.Dialect
		shown   string
	}{
		"postgresql+psycopg2://u:secret@h:6000/name":                 {sqldb.PostgreSQL, "postgresql://u:**@h:6000/name"},
		"postgresql+psycopg://u:sec%2Fret@h/name?sslmode=disable":    {sqldb.PostgreSQL, "postgresql://u:**@h/name"},
		"postgres://u@h/name":                                        {sqldb.PostgreSQL, "postgresql://u@h/name"},
		"postgresql://u:sec/ret#1@h/name":                            {sqldb.PostgreSQL, "postgresql://u:**@h/name"},
		"postgresql:///name?host=/run/pg&user=me&password=secret":    {sqldb.PostgreSQL, "postgresql://me:**@/run/pg/name"},
		"postgresql://[::1]:7/name?application_name=x":               {sqldb.PostgreSQL, "postgresql://::1:7/name"},
		"mysql+pymysql://u:secret@h/name?charset=utf8mb4":            {sqldb.MySQL, "mysql://u:**@h/name"},
		"mysql+mysqldb://u:secret@/name?unix_socket=/run/mysqld":     {sqldb.MySQL, "mysql://u:**@/name"},
		"mariadb+mariadbconnector://h/name?ssl_mode=REQUIRED":        {sqldb.MySQL, "mysql://h/name"},
		"mysql://h/name?init_command=SET+sql_mode%3D''&ssl_ca=":      {sqldb.MySQL, "mysql://h/name"},
		"sqlite:////var/lib/results.db":                              {sqldb.SQLite, "sqlite:////var/lib/results.db"},
		"sqlite:///results.db?timeout=30&check_same_thread=False":    {sqldb.SQLite, "sqlite:///results.db"},
		"sqlite+pysqlite:///a%20b.db":                                {sqldb.SQLite, "sqlite:///a%20b.db"},
		"mysql+pymysql://u:secret@h/name?connect_timeout=2&ssl=true": {sqldb.MySQL, "mysql://u:**@h/name"},
	} {
		s, err := sqldb.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if s.Dialect != want.dialect || s.String() != want.shown {
			t.Errorf("%s: %v %s, want %s", text, s.Dialect, s, want.shown)
		}
	}
}

// What cannot be heeded is named, and the password is not.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"secret":                                   "this is no URL of a database",
		"oracle+cx://u:secret@h/n":                 "there is no driver for oracle+cx://",
		"postgresql://u:secret@h/n?sslmoed=x":      "'sslmoed' cannot be heeded",
		"postgresql://u:secret@h/n?sslmode=secret": "sslmode is invalid",
		"postgresql://u:secret@h:x/n":              "'x' is no port",
		"postgresql://u:%zzsecret@h/n":             "the password in the database's URL",
		"mysql://u:secret@h/n?read_default_file=x": "'read_default_file' cannot be heeded",
		"mysql://u:secret@h/n?compress=1&defer=2":  "'compress', 'defer' cannot be heeded",
		"mysql://u:secret@h:x/n":                   "'x' is no port",
		"mysql://u:secret@h/n?connect_timeout=x":   "'connect_timeout' is a number of seconds",
		"mysql://u:secret@h/n?ssl_ca=/none":        "ssl_ca: open /none",
		"mysql://u:secret@h/n?ssl_cert=/none":      "ssl_cert: open /none",
		"mysql://u:secret@h/n?ssl_mode=requierd":   "'ssl_mode' is one of DISABLED, PREFERRED",
		"mysql://u:secret@h/n?ssl_cipher=x":        "'ssl_cipher' cannot be heeded",
		"sqlite://":                                "a database in memory is seen by nobody else",
		"sqlite:///:memory:":                       "a database in memory is seen by nobody else",
		"sqlite://results.db":                      "three slashes",
		"sqlite:///file:x?uri=true":                "a file: URI cannot be heeded",
		"sqlite:///x?vfs=y":                        "'vfs' cannot be heeded",
	} {
		s, err := sqldb.Parse(text)
		if err == nil {
			t.Errorf("%s: %s", text, s)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// Entries of DATABASES.
func TestFromDjango(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		`{"ENGINE": "django.db.backends.postgresql", "NAME": "n", "USER": "u", "PASSWORD": "se'c\\ret", "HOST": "/run/pg", "PORT": 5433,
		  "OPTIONS": {"sslmode": "prefer", "pool": {"min_size": 2}, "assume_role": "r", "keepalives": 1}}`: "postgresql://u:**@/run/pg:5433/n",
		`{"ENGINE": "django_prometheus.db.backends.postgresql", "NAME": "n", "HOST": "", "PORT": ""}`: "postgresql:///n",
		`{"ENGINE": "django.db.backends.mysql", "NAME": "n", "USER": "u", "PASSWORD": "secret", "HOST": "/run/my.sock", "PORT": "",
		  "OPTIONS": {"charset": "utf8mb4", "init_command": "SET sql_mode='STRICT_TRANS_TABLES'", "ssl": {}, "isolation_level": "read committed"}}`: "mysql://u:**@/run/my.sock/n",
		`{"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/db.sqlite3", "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA synchronous=1"}}`: "sqlite:////srv/db.sqlite3",
	} {
		s, err := sqldb.FromDjango([]byte(entry))
		if err != nil || s.String() != want {
			t.Errorf("%s: %v, %v, want %s", entry, s, err, want)
		} else if s.Dialect == sqldb.PostgreSQL && strings.Contains(entry, "keepalives") && !slices.Equal(s.Ignored, []string{"keepalives"}) {
			t.Errorf("ignored: %q", s.Ignored)
		}
	}
	for entry, want := range map[string]string{
		`{"ENGINE": "django.db.backends.oracle", "PASSWORD": "secret"}`:                                                             "the database engine 'django.db.backends.oracle'",
		`{"ENGINE": "django.db.backends.mysql", "PASSWORD": "secret", "OPTIONS": {"read_default_file": "/etc/my.cnf"}}`:             "'read_default_file' cannot be heeded",
		`{"ENGINE": "django.db.backends.sqlite3", "NAME": "x", "PASSWORD": "secret", "TIME_ZONE": "Mars/Phobos"}`:                   "TIME_ZONE",
		`{"ENGINE": "django.db.backends.postgresql", "HOST": "h", "PASSWORD": "secret", "OPTIONS": {"sslmode": "never"}}`:           "sslmode",
		`{"ENGINE": "django.db.backends.postgresql", "PASSWORD": "secret", "OPTIONS": {"sslmoed": "never", "cursor_factory": "x"}}`: "'sslmoed' cannot be heeded",
		`[]`: "cannot be read",
	} {
		if _, err := sqldb.FromDjango([]byte(entry)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", entry, err, want)
		}
	}
}
