package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
)

// sqlite makes the connector. One at a time writes: a transaction waits for its turn when it
// begins, and for 20 seconds, before it finds the database locked. The file's journal mode is left
// as it is; in WAL mode, readers do not wait.
func (s *Source) sqlite(at *address) error {
	if at.host != "" {
		return errors.New("a file is named by its path after three slashes, or four if it is absolute: sqlite:////var/lib/results.db")
	}
	if at.name == "" || strings.Contains(at.name, ":memory:") || strings.Contains(at.name, "mode=memory") {
		return errors.New("a database in memory is seen by nobody else: name a file")
	}
	if strings.HasPrefix(at.name, "file:") {
		return errors.New("a file: URI cannot be heeded: name the path")
	}
	timeout := 20.0 // seconds
	if value := at.take("timeout"); value != "" {
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("the option 'timeout' is a number of seconds, not %q", value)
		}
		timeout = max(seconds, 5) // Python's 5 lets tasks fail that only had to wait
	}
	if command := at.take("init_command"); command != "" {
		s.startup = append(s.startup, command)
	}
	if err := refuse(at); err != nil {
		return err
	}
	s.connector = sqliteConnector{s, url.Values{"_txlock": {"immediate"}, "_pragma": {fmt.Sprintf("busy_timeout(%d)", int(timeout*1000))}}}
	return nil
}

// sqliteConnector connects with the zone that the source has by then.
type sqliteConnector struct {
	source *Source
	query  url.Values
}

// Connect implements driver.Connector.
func (c sqliteConnector) Connect(context.Context) (driver.Conn, error) {
	query := maps.Clone(c.query)
	query.Set("_timezone", c.source.Location.String()) // for reading
	path := (&url.URL{Path: c.source.at.name}).EscapedPath()
	return sqliteDriver().Open("file:" + path + "?" + query.Encode())
}

// Driver implements driver.Connector.
func (c sqliteConnector) Driver() driver.Driver { return sqliteDriver() }
