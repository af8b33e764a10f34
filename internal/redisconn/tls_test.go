package redisconn

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/apium/apium/settings/connection"
)

// TestTrusted: certificates to be trusted may stand in a file, in files of a folder, or in
// the settings themselves.
func TestTrusted(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	dir := t.TempDir()
	for name, data := range map[string][]byte{"README": []byte("none"), "ca.pem": text} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, options := range map[string]connection.TLS{
		"ssl_ca_certs": {CACerts: filepath.Join(dir, "ca.pem")}, "ssl_ca_path": {CAPath: dir}, "ssl_ca_data": {CAData: string(text)},
	} {
		options.CertReqs = "required"
		cfg, err := tlsConfig(&options, Broker, "example.com")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := server.Certificate().Verify(x509.VerifyOptions{Roots: cfg.RootCAs, DNSName: "example.com"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if cfg, err := tlsConfig(&connection.TLS{}, Broker, "example.com"); err != nil || cfg.RootCAs != nil {
		t.Errorf("nothing given: %v, %v", cfg, err)
	}
}
