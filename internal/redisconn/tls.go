package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"

	"github.com/apium/apium/internal/serverurl"
	"github.com/apium/apium/settings/connection"
)

// setTLS assigns one ssl_* parameter of a URL, if it means anything here.
func setTLS(o *connection.TLS, key, value string) (known bool) {
	switch key {
	case "ssl_cert_reqs":
		o.CertReqs = value
	case "ssl_ca_certs":
		o.CACerts = value
	case "ssl_ca_path":
		o.CAPath = value
	case "ssl_ca_data":
		o.CAData = value
	case "ssl_certfile":
		o.CertFile = value
	case "ssl_keyfile":
		o.KeyFile = value
	case "ssl_check_hostname":
		check := !strings.EqualFold(value, "false")
		o.CheckHostname = &check
	default:
		return false
	}
	return true
}

// tlsConfig builds the TLS configuration for a server name.
func tlsConfig(o *connection.TLS, role Role, host string) (*tls.Config, error) {
	if o.CertReqs == "" && role == Backend {
		return nil, errors.New("rediss:// needs ssl_cert_reqs: required, optional or none (CERT_REQUIRED, CERT_OPTIONAL, CERT_NONE)")
	}
	return serverurl.TLS{TLS: o, Prefix: "ssl_", Verified: *o != connection.TLS{}, CheckedNames: true}.For(host)
}

var errHandshakeTimeout = errors.New("TLS handshake timeout")

// secured speaks TLS on a connection. That is not left to redigo, as a Pipeline writes to what is returned itself.
func secured(ctx context.Context, nc net.Conn, addr string, config *tls.Config) (net.Conn, error) {
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(err, nc.Close())
		}
		config = config.Clone()
		config.ServerName = host
	}
	secure := tls.Client(nc, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			err = errHandshakeTimeout
		}
		return nil, err //nolint:wrapcheck // it says what it is
	}
	return secure, nil
}
