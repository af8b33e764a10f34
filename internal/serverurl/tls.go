package serverurl

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/apium/apium/settings/connection"
)

// TLS builds configurations of clients.
type TLS struct {
	*connection.TLS
	Prefix       string // what the options' names begin with where they are given, for errors: ssl_ for Redis
	Verified     bool   // whether the server's certificate is, where CertReqs is empty
	CheckedNames bool   // whether it must name the server, where CheckHostname is nil
}

// For is what a client needs for a server of that name.
func (t TLS) For(host string) (*tls.Config, error) {
	verified, err := t.verified()
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if cfg.RootCAs, err = t.trusted(); err != nil {
		return nil, err
	}
	if t.CertFile != "" {
		if err := t.present(cfg); err != nil {
			return nil, err
		}
	} else if t.KeyFile != "" {
		return nil, fmt.Errorf("%[1]skeyfile needs %[1]scertfile", t.Prefix)
	}
	named := t.CheckedNames
	if t.CheckHostname != nil {
		named = *t.CheckHostname
	}
	switch {
	case !verified:
		cfg.InsecureSkipVerify = true
	case !named:
		t.verifyAnew(cfg, "")
	case cfg.RootCAs != nil:
		t.verifyAnew(cfg, host)
	}
	return cfg, nil
}

func (t TLS) verified() (bool, error) {
	switch t.CertReqs {
	case "required", "CERT_REQUIRED", "optional", "CERT_OPTIONAL":
		return true, nil
	case "none", "CERT_NONE":
		return false, nil
	case "":
		return t.Verified, nil
	}
	return false, fmt.Errorf("%scert_reqs is %q; it may be required, optional or none (CERT_REQUIRED, CERT_OPTIONAL, CERT_NONE)", t.Prefix, t.CertReqs)
}

// trusted are the certificates to be trusted; nil for the system's.
func (t TLS) trusted() (*x509.CertPool, error) {
	if t.CACerts == "" && t.CAPath == "" && t.CAData == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if t.CACerts != "" {
		pem, err := os.ReadFile(t.CACerts)
		if err != nil {
			return nil, fmt.Errorf("%sca_certs: %w", t.Prefix, err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%sca_certs: %s holds no certificate", t.Prefix, t.CACerts)
		}
	}
	if t.CAData != "" && !pool.AppendCertsFromPEM([]byte(t.CAData)) {
		return nil, errors.New(t.Prefix + "ca_data holds no certificate")
	}
	if t.CAPath == "" {
		return pool, nil
	}
	files, err := os.ReadDir(t.CAPath)
	if err != nil {
		return nil, fmt.Errorf("%sca_path: %w", t.Prefix, err)
	}
	for _, file := range files {
		if pem, err := os.ReadFile(filepath.Join(t.CAPath, file.Name())); err == nil {
			pool.AppendCertsFromPEM(pem) // other files may stand there, too
		}
	}
	return pool, nil
}

// verifyAnew checks the server's certificate against what is trusted when a connection is made: files of authorities may have been
// replaced since the program began, as Celery notices, too. While they cannot be read, what they held then counts.
// Whom the certificate names is checked unless host is empty.
func (t TLS) verifyAnew(cfg *tls.Config, host string) {
	cfg.InsecureSkipVerify = true // VerifyConnection does it
	first := cfg.RootCAs
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		roots, err := t.trusted()
		if err != nil {
			roots = first
		}
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), DNSName: host}
		for _, cert := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		return nil
	}
}

// present has the client show the certificate that its files hold when a connection is made, or, while they cannot be
// read, the one that they held at first.
func (t TLS) present(cfg *tls.Config) error {
	load := func() (tls.Certificate, error) { return tls.LoadX509KeyPair(t.CertFile, cmp.Or(t.KeyFile, t.CertFile)) }
	first, err := load()
	if err != nil {
		return fmt.Errorf("%scertfile: %w", t.Prefix, err)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair, err := load(); err == nil {
			return &pair, nil
		}
		return &first, nil
	}
	return nil
}
