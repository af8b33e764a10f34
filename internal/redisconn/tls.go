package redisconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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

// verify reads CertReqs; "" is the default of the role.
func verify(o *connection.TLS, role Role) (bool, error) {
	switch o.CertReqs {
	case "required", "CERT_REQUIRED", "optional", "CERT_OPTIONAL":
		return true, nil
	case "none", "CERT_NONE":
		return false, nil
	case "":
		if role == Backend {
			return false, errors.New("rediss:// needs ssl_cert_reqs: required, optional or none (CERT_REQUIRED, CERT_OPTIONAL, CERT_NONE)")
		}
		return *o != connection.TLS{}, nil
	}
	return false, fmt.Errorf("ssl_cert_reqs is %q; it may be required, optional or none (CERT_REQUIRED, CERT_OPTIONAL, CERT_NONE)", o.CertReqs)
}

// tlsConfig builds the TLS configuration for a server name.
func tlsConfig(o *connection.TLS, role Role, host string) (*tls.Config, error) {
	verified, err := verify(o, role)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if cfg.RootCAs, err = trusted(o); err != nil {
		return nil, err
	}
	if o.CertFile != "" {
		key := o.KeyFile
		if key == "" {
			key = o.CertFile
		}
		pair, err := tls.LoadX509KeyPair(o.CertFile, key)
		if err != nil {
			return nil, fmt.Errorf("ssl_certfile: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	} else if o.KeyFile != "" {
		return nil, errors.New("ssl_keyfile needs ssl_certfile")
	}
	switch {
	case !verified:
		cfg.InsecureSkipVerify = true
	case o.CheckHostname != nil && !*o.CheckHostname:
		verifyChainOnly(cfg)
	}
	return cfg, nil
}

// trusted are the certificates to be trusted; nil for the system's.
func trusted(o *connection.TLS) (*x509.CertPool, error) {
	if o.CACerts == "" && o.CAPath == "" && o.CAData == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if o.CACerts != "" {
		pem, err := os.ReadFile(o.CACerts)
		if err != nil {
			return nil, fmt.Errorf("ssl_ca_certs: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ssl_ca_certs: %s holds no certificate", o.CACerts)
		}
	}
	if o.CAData != "" && !pool.AppendCertsFromPEM([]byte(o.CAData)) {
		return nil, errors.New("ssl_ca_data holds no certificate")
	}
	if o.CAPath == "" {
		return pool, nil
	}
	files, err := os.ReadDir(o.CAPath)
	if err != nil {
		return nil, fmt.Errorf("ssl_ca_path: %w", err)
	}
	for _, file := range files {
		if pem, err := os.ReadFile(filepath.Join(o.CAPath, file.Name())); err == nil {
			pool.AppendCertsFromPEM(pem) // other files may stand there, too
		}
	}
	return pool, nil
}

// verifyChainOnly checks the certificate's chain but not whom it names.
func verifyChainOnly(cfg *tls.Config) {
	cfg.InsecureSkipVerify = true
	roots := cfg.RootCAs
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		return nil
	}
}
