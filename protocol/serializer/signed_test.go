package serializer_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/serializer"
)

// keys makes a key and its certificate, which is its own issuer's.
func keys(t *testing.T, name string, until time.Time) serializer.Keys {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Country: []string{"AT"}, CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return serializer.Keys{
		Key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), Certificate: certificate, Store: []string{certificate},
		Digest: "sha256", Serializer: "json",
	}
}

func newSigned(t *testing.T, k serializer.Keys) *serializer.Signed {
	t.Helper()
	s, err := serializer.NewSigned(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is signed in either form is read by who knows the certificate, whichever form that writes.
func TestSignedIsRead(t *testing.T) {
	newer := keys(t, "shop", time.Now().Add(time.Hour))
	older := newer
	older.Plain, older.Serializer, older.Digest = true, "yaml", "sha512"
	newer.Digest = "sha512"
	const text = `{"a": [1, "b"]}`
	for range 20 { // a signature may have the bytes that end a field
		for _, writer := range []serializer.Keys{newer, older} {
			body, err := newSigned(t, writer).FromJSON([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := newSigned(t, newer).ToJSON(body)
			if err != nil || string(got) != text {
				t.Fatalf("plain %t: %s, %v", writer.Plain, got, err)
			}
		}
	}
	body, _ := newSigned(t, newer).FromJSON([]byte(text))
	fields, _ := base64.StdEncoding.DecodeString(string(body))
	signer, _, _ := bytes.Cut(fields, []byte("\x00\x01"))
	if id, _ := base64.StdEncoding.DecodeString(string(signer)); string(id) != "AT shop 7" {
		t.Errorf("signed by %q", id)
	}
}

// What cannot be trusted is an error that says why.
func TestSignedIsRefused(t *testing.T) {
	own := keys(t, "shop", time.Now().Add(time.Hour))
	reader := newSigned(t, own)
	sign := func(k serializer.Keys) []byte {
		body, err := newSigned(t, k).FromJSON([]byte(`{"pay": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	changed, _ := base64.StdEncoding.DecodeString(string(sign(own)))
	changed = bytes.Replace(changed, []byte(`"pay": 1`), []byte(`"pay": 9`), 1)
	impostor := keys(t, "shop", time.Now().Add(time.Hour)) // the same names
	impostor.Plain = true
	expired := keys(t, "old", time.Now().Add(-time.Minute))
	for name, test := range map[string]struct {
		body []byte
		want string
	}{
		"changed":              {[]byte(base64.StdEncoding.EncodeToString(changed)), "its signature is bad"},
		"another key":          {sign(impostor), "its signature is bad"},
		"unknown":              {sign(keys(t, "nobody", time.Now().Add(time.Hour))), `it is signed by "AT nobody 7", whose certificate is unknown`},
		"expired":              {sign(expired), `the certificate "AT old 7" of who has signed it has expired`},
		"no base64":            {[]byte(`{"pay": 1}`), "it is not signed"},
		"no fields":            {[]byte(base64.StdEncoding.EncodeToString([]byte(`{"pay": 1}`))), "it is not signed"},
		"nothing":              {nil, "it is not signed"},
		"a signer and no more": {[]byte(base64.StdEncoding.EncodeToString([]byte("AT shop 7\x00\x01short"))), "its signature is too short"},
	} {
		s := reader
		if name == "expired" {
			k := own
			k.Store = expired.Store
			s = newSigned(t, k)
		}
		if got, err := s.ToJSON(test.body); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %s, %v; want %q", name, got, err, test.want)
		}
	}
	for _, change := range []struct {
		what string
		make func(*serializer.Keys)
	}{
		{"security_key", func(k *serializer.Keys) { k.Key = "x" }},
		{"security_certificate", func(k *serializer.Keys) { k.Certificate = "x" }},
		{"security_cert_store", func(k *serializer.Keys) { k.Store = []string{"x"} }},
		{"security_digest", func(k *serializer.Keys) { k.Digest = "md4" }},
		{"unknown serializer", func(k *serializer.Keys) { k.Serializer = "jsn" }},
	} {
		k := own
		change.make(&k)
		if _, err := serializer.NewSigned(k); err == nil || !strings.Contains(err.Error(), change.what) {
			t.Errorf("%s: %v", change.what, err)
		}
	}
}
