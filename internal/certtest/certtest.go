// Package certtest makes certificates for tests of TLS.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are certificates and their keys, in PEM. They last for an hour, or until the test ends.
type Files struct {
	CA, OtherCA           string // who has signed the others; and somebody else
	ServerCert, ServerKey string // a server's, which is localhost
	Cert, Key             string // a client's own
}

// New makes files in a directory of the test.
func New(tb testing.TB) Files {
	tb.Helper()
	dir := tb.TempDir()
	ca, key := authority(tb, dir, "ca")
	authority(tb, dir, "other")
	certify(tb, dir, "server", ca, key)
	certify(tb, dir, "client", ca, key)
	file := func(name string) string { return filepath.Join(dir, name) }
	return Files{
		CA: file("ca.pem"), OtherCA: file("other.pem"), ServerCert: file("server.pem"), ServerKey: file("server.key"),
		Cert: file("client.pem"), Key: file("client.key"),
	}
}

// SelfSigned makes a certificate for a server of these names that has signed itself, and lasts for so long from now: a
// negative time is over. What trusts it is the certificate itself, in PEM.
func SelfSigned(tb testing.TB, lasts time.Duration, names ...string) (cert tls.Certificate, trusted []byte) {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(lasts), DNSNames: names,
		IsCA: true, BasicConstraintsValid: true,
	}
	key := newKey(tb)
	der := sign(tb, template, template, key, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// authority makes somebody who signs certificates.
func authority(tb testing.TB, dir, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(tb)
	writeCertificate(tb, dir, name, template, template, key, key)
	return template, key
}

// certify makes a certificate for localhost.
func certify(tb testing.TB, dir, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	writeCertificate(tb, dir, name, template, ca, newKey(tb), caKey)
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func sign(tb testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (der []byte) {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func writeCertificate(tb testing.TB, dir, name string, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) {
	tb.Helper()
	der := sign(tb, template, parent, key, signer)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}
