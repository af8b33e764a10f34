package sqldb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mysql makes the connector.
func (s *Source) mysql(at *address) error {
	if file := at.take("read_default_file") + at.take("read_default_group"); file != "" {
		return errors.New("the option 'read_default_file' cannot be heeded: name host, user and password in the URL, or in DATABASES")
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = at.user, at.password, at.name
	for _, o := range []struct {
		name string
		to   *string
	}{{"user", &cfg.User}, {"password", &cfg.Passwd}, {"passwd", &cfg.Passwd}, {"database", &cfg.DBName}, {"db", &cfg.DBName}, {"host", &at.host}, {"port", &at.port}} {
		if value := at.take(o.name); value != "" {
			*o.to = value
		}
	}
	s.at.user, s.at.password, s.at.name, s.at.host, s.at.port = cfg.User, cfg.Passwd, cfg.DBName, at.host, at.port
	if err := mysqlAddress(cfg, at); err != nil {
		return err
	}
	cfg.ParseTime = true
	cfg.InterpolateParams = true // a statement is one round trip
	cfg.MaxAllowedPacket = 0     // asked of the server
	cfg.CheckConnLiveness = true
	cfg.Logger = log{}
	cfg.Collation = "utf8mb4_general_ci" // MySQL and MariaDB of all versions have it
	if err := timeouts(cfg, at); err != nil {
		return err
	}
	if err := mysqlTLS(cfg, at); err != nil {
		return err
	}
	s.startup = append(s.startup, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
	if mode := at.take("sql_mode"); mode != "" {
		s.startup = append(s.startup, "SET SESSION sql_mode = '"+strings.ReplaceAll(mode, "'", "''")+"'")
	}
	if command := at.take("init_command"); command != "" {
		s.startup = append(s.startup, command)
	}
	if name := at.take("program_name"); name != "" {
		cfg.ConnectionAttributes = "program_name:" + name
	}
	if err := refuse(at); err != nil {
		return err
	}
	s.connector = &mysqlConnector{source: s, cfg: cfg}
	return nil
}

// mysqlAddress finds out where the server is: a HOST with a slash is a socket.
func mysqlAddress(cfg *mysql.Config, at *address) error {
	socket := at.take("unix_socket")
	if strings.HasPrefix(at.host, "/") {
		socket = at.host
	}
	if socket != "" {
		cfg.Net, cfg.Addr = "unix", socket
		return nil
	}
	port := at.port
	if port == "" {
		port = "3306"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("'%s' is no port", port)
	}
	host := at.host
	if host == "" {
		host = "localhost"
	}
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(host, port)
	return nil
}

func timeouts(cfg *mysql.Config, at *address) error {
	cfg.Timeout = 10 * time.Second
	for name, into := range map[string]*time.Duration{"connect_timeout": &cfg.Timeout, "read_timeout": &cfg.ReadTimeout, "write_timeout": &cfg.WriteTimeout} {
		if value := at.take(name); value != "" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return fmt.Errorf("the option '%s' is a number of seconds, not %q", name, value)
			}
			*into = time.Duration(seconds * float64(time.Second))
		}
	}
	return nil
}

// tlsModes are the values of ssl_mode.
var tlsModes = []string{"", "DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"}

// mysqlTLS heeds ssl_mode and ssl_ca, ssl_cert, ssl_key and what goes with them, as PyMySQL and
// mysqlclient have them. Without any, TLS is used if the server has it, as mysqlclient does.
func mysqlTLS(cfg *mysql.Config, at *address) error {
	mode := strings.ToUpper(at.take("ssl_mode"))
	if !slices.Contains(tlsModes, mode) {
		return fmt.Errorf("the option 'ssl_mode' is one of %s, not %q", strings.Join(tlsModes[1:], ", "), mode)
	}
	ca, cert, key := at.take("ssl_ca"), at.take("ssl_cert"), at.take("ssl_key")
	verify := at.take("ssl_verify_cert") + at.take("ssl_verify_mode")
	checked := at.take("ssl_check_hostname")
	identity := truthy(at.take("ssl_verify_identity")) || truthy(checked) || at.driver == "pymysql" && ca != "" && checked == ""
	off := truthy(at.take("ssl_disabled"))
	if on := at.take("ssl"); on != "" && mode == "" {
		if mode = "REQUIRED"; !truthy(on) {
			mode = "DISABLED"
		}
	}
	if off || mode == "DISABLED" {
		return nil
	}
	host, _, _ := net.SplitHostPort(cfg.Addr)
	conf := &tls.Config{ServerName: host, InsecureSkipVerify: true} //nolint:gosec // verified below, if that was asked for
	if mode == "" && ca == "" && cert == "" && verify == "" || mode == "PREFERRED" {
		if cfg.Net != "unix" {
			cfg.TLS, cfg.AllowFallbackToPlaintext = conf, true
		}
		return nil
	}
	if err := certificates(conf, ca, cert, key); err != nil {
		return err
	}
	switch {
	case mode == "VERIFY_IDENTITY":
		conf.InsecureSkipVerify = false
	case verify != "" && !truthy(strings.TrimPrefix(strings.ToLower(verify), "cert_")):
	case identity:
		conf.InsecureSkipVerify = false
	case verify != "" || mode == "VERIFY_CA" || ca != "":
		conf.VerifyConnection = anyName(conf.RootCAs)
	}
	cfg.TLS = conf
	return nil
}

// certificates reads the files of options.
func certificates(conf *tls.Config, ca, cert, key string) error {
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("ssl_ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ssl_ca: there is no certificate in %s", ca)
		}
	}
	if cert == "" {
		return nil
	}
	if key == "" {
		key = cert // one file may hold both
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("ssl_cert: %w", err)
	}
	conf.Certificates = []tls.Certificate{pair}
	return nil
}

// anyName verifies who signed the server's certificate, and not for whom.
func anyName(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		return err
	}
}

func truthy(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "false", "no", "none":
		return false
	}
	return true
}

// mysqlConnector connects with the zone that the source has by then.
type mysqlConnector struct {
	source *Source
	cfg    *mysql.Config
}

// Connect implements driver.Connector.
func (c *mysqlConnector) Connect(ctx context.Context) (driver.Conn, error) {
	cfg := c.cfg.Clone()
	cfg.Loc = c.source.Location
	inner, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	conn, err := inner.Connect(ctx)
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the server closed the connection: %w", err)
	}
	return conn, err
}

// Driver implements driver.Connector.
func (c *mysqlConnector) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// log drops what the driver says besides the errors that it returns.
type log struct{}

// Print implements mysql.Logger.
func (log) Print(...any) {}
