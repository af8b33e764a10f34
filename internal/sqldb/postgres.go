package sqldb

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// unheeded are options of the Python drivers that mean nothing to others.
var unheeded = map[Dialect][]string{
	PostgreSQL: {
		"async_fallback", "client_encoding", "cursor_factory", "gssencmode", "isolation_level", "keepalives", "keepalives_count",
		"keepalives_idle", "keepalives_interval", "pool", "prepare_threshold", "prepared_statement_cache_size", "server_side_binding",
		"sslcompression", "tcp_user_timeout",
	},
	MySQL: {
		"autocommit", "binary_prefix", "charset", "client_flag", "conv", "cursorclass", "isolation_level", "local_infile", "use_unicode",
	},
	SQLite: {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "transaction_mode", "uri"},
}

// harmless are those of which nobody needs to hear: what they ask for is so anyway.
var harmless = map[string]bool{
	"autocommit": true, "cached_statements": true, "charset": true, "check_same_thread": true, "client_encoding": true,
	"detect_types": true, "isolation_level": true, "prepare_threshold": true, "server_side_binding": true,
	"transaction_mode": true, "use_unicode": true, "pool": true,
}

// libpq are the options of libpq that are heeded as libpq does.
var libpq = []string{
	"application_name", "channel_binding", "connect_timeout", "hostaddr", "krbspn", "krbsrvname", "options", "passfile", "require_auth",
	"service", "servicefile", "sslcert", "sslcertmode", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert", "sslsni", "target_session_attrs",
}

// postgres makes the connector. What is not said comes from PGHOST and the like, and from
// ~/.pgpass, as for every client of PostgreSQL.
func (s *Source) postgres(at *address) error {
	words := map[string]string{"connect_timeout": "10"}
	set := func(name, value string) {
		if value != "" {
			words[name] = value
		}
	}
	set("host", at.host)
	set("port", at.port)
	set("user", at.user)
	set("password", at.password)
	set("dbname", at.name)
	for _, name := range append([]string{"host", "port", "user", "password", "dbname"}, libpq...) {
		set(name, at.take(name))
	}
	if port, ok := words["port"]; ok && strings.Trim(port, "0123456789,") != "" {
		return fmt.Errorf("'%s' is no port", port)
	}
	if address, ok := words["hostaddr"]; ok {
		words["host"] = address
		delete(words, "hostaddr")
	}
	s.at.host, s.at.port, s.at.user, s.at.name = words["host"], words["port"], words["user"], words["dbname"]
	s.at.password = words["password"]
	if role := at.take("assume_role"); role != "" {
		s.startup = append(s.startup, "SET ROLE "+PostgreSQL.Quote(role))
	}
	if err := refuse(at); err != nil {
		return err
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(words)) {
		value := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(words[name])
		fmt.Fprintf(&text, "%s='%s' ", name, value)
	}
	cfg, err := pgx.ParseConfig(text.String())
	if err != nil { // its text repeats the options
		if inner := errors.Unwrap(err); inner != nil && !s.shows(inner) {
			return inner
		}
		return errors.New("the options of the connection cannot be read")
	}
	// Nothing is prepared, which PgBouncer would have to know of, and a statement is one round trip.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.RuntimeParams["timezone"] = "UTC"
	s.connector = stdlib.GetConnector(*cfg)
	return nil
}

// shows tells whether an error shows the password.
func (s *Source) shows(err error) bool {
	return s.at.password != "" && strings.Contains(err.Error(), s.at.password)
}
