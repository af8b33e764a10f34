package serializer

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // security_digest may name them
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
)

// ContentTypeSigned is that of what Signed writes.
const ContentTypeSigned = "application/data"

// Keys are what an app signs and verifies messages with: the arguments of Celery's register_auth. Keys and certificates are PEM.
type Keys struct {
	Key         string   `json:"key"`         // RSA, without a password
	Certificate string   `json:"certificate"` // of the key
	Store       []string `json:"store"`       // of all whose messages are accepted
	Digest      string   `json:"digest"`      // "sha256"
	Serializer  string   `json:"serializer"`  // of what is signed: "json"
	// Plain tells that signer and signature are written as they are, as older Celerys do; newer ones have them in base64.
	Plain bool `json:"plain"`
}

// Signed is Celery's serializer auth (celery/security/serialization.py): the body in another serializer, with the
// signature of who sends it.
type Signed struct {
	key     *rsa.PrivateKey
	signer  string
	known   map[string]*x509.Certificate // by id
	hash    crypto.Hash
	inner   protocol.Serializer // nil: JSON
	plain   bool
	content string // of inner
}

var _ protocol.Serializer = (*Signed)(nil)

// fieldsEnd is between the fields of what is signed.
var fieldsEnd = []byte("\x00\x01")

var digests = map[string]crypto.Hash{
	"sha1": crypto.SHA1, "sha224": crypto.SHA224, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
}

// NewSigned returns a serializer, or an error that names the key, certificate or algorithm that cannot be used.
func NewSigned(k Keys) (*Signed, error) {
	s := &Signed{known: map[string]*x509.Certificate{}, hash: digests[strings.ToLower(k.Digest)], plain: k.Plain, content: protocol.ContentTypeJSON}
	if s.hash == 0 {
		return nil, fmt.Errorf("security_digest: %q is not known here", k.Digest)
	}
	inner, err := Lookup(k.Serializer)
	if err != nil {
		return nil, err
	}
	if inner != nil {
		s.inner, s.content = inner, inner.ContentType()
	}
	if s.key, err = privateKey(k.Key); err != nil {
		return nil, fmt.Errorf("security_key: %w", err)
	}
	own, err := certificate(k.Certificate)
	if err != nil {
		return nil, fmt.Errorf("security_certificate: %w", err)
	}
	s.signer = certificateID(own)
	for _, text := range k.Store {
		c, err := certificate(text)
		if err != nil {
			return nil, fmt.Errorf("security_cert_store: %w", err)
		}
		s.known[certificateID(c)] = c
	}
	return s, nil
}

func privateKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an RSA key")
	}
	return key, nil
}

func certificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// certificateID is Celery's Certificate.get_id.
func certificateID(c *x509.Certificate) string {
	var issuer []string
	for _, name := range c.Issuer.Names {
		issuer = append(issuer, fmt.Sprint(name.Value))
	}
	return strings.Join(issuer, " ") + " " + c.SerialNumber.String()
}

// ContentType is application/data.
func (s *Signed) ContentType() string { return ContentTypeSigned }

// ContentEncoding is utf-8.
func (s *Signed) ContentEncoding() string { return "utf-8" }

// FromJSON signs.
func (s *Signed) FromJSON(text []byte) ([]byte, error) {
	body, encoding := text, "utf-8"
	if s.inner != nil {
		var err error
		if body, err = s.inner.FromJSON(text); err != nil {
			return nil, err
		}
		encoding = s.inner.ContentEncoding()
	}
	signature, err := rsa.SignPSS(rand.Reader, s.key, s.hash, s.sum(body), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	signer := []byte(s.signer)
	if !s.plain {
		signer, signature = base64.StdEncoding.AppendEncode(nil, signer), base64.StdEncoding.AppendEncode(nil, signature)
	}
	fields := bytes.Join([][]byte{signer, signature, []byte(s.content), []byte(encoding), body}, fieldsEnd)
	return base64.StdEncoding.AppendEncode(nil, fields), nil
}

func (s *Signed) sum(body []byte) []byte {
	h := s.hash.New()
	h.Write(body)
	return h.Sum(nil)
}

// ToJSON verifies. What is signed by nobody known, by a certificate that has expired, or wrongly, is an error.
func (s *Signed) ToJSON(body []byte) ([]byte, error) {
	fields, err := base64.StdEncoding.AppendDecode(nil, body)
	if err != nil {
		return nil, errors.New("it is not signed")
	}
	first, rest, found := bytes.Cut(fields, fieldsEnd)
	if !found {
		return nil, errors.New("it is not signed")
	}
	signer, signature, rest, err := s.signature(first, rest)
	if err != nil {
		return nil, err
	}
	parts := bytes.SplitN(rest, fieldsEnd, 3)
	if len(parts) != 3 {
		return nil, errors.New("it is not signed")
	}
	if time.Now().After(signer.NotAfter) {
		return nil, fmt.Errorf("the certificate %q of who has signed it has expired", certificateID(signer))
	}
	key, ok := signer.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("it is not signed with RSA")
	}
	text := parts[2]
	if err := rsa.VerifyPSS(key, s.hash, s.sum(text), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}); err != nil {
		return nil, fmt.Errorf("its signature is bad: %w", err)
	}
	contentType := string(parts[0])
	if contentType == protocol.ContentTypeJSON {
		return text, nil
	}
	if inner := ByContentType(contentType); inner != nil {
		return inner.ToJSON(text)
	}
	return nil, fmt.Errorf("content type %s is not supported", contentType)
}

// signature returns who has signed and with what, in either of the two forms, and what follows.
func (s *Signed) signature(first, rest []byte) (signer *x509.Certificate, signature, after []byte, err error) {
	if signer = s.known[string(first)]; signer != nil { // as it is: it may have what ends fields in it
		key, ok := signer.PublicKey.(*rsa.PublicKey)
		if !ok || len(rest) < key.Size()+len(fieldsEnd) {
			return nil, nil, nil, errors.New("its signature is too short")
		}
		return signer, rest[:key.Size()], rest[key.Size()+len(fieldsEnd):], nil
	}
	id, err := base64.StdEncoding.AppendDecode(nil, first)
	if err != nil {
		id = first
	}
	if signer = s.known[string(id)]; signer == nil {
		return nil, nil, nil, fmt.Errorf("it is signed by %q, whose certificate is unknown", id)
	}
	written, after, _ := bytes.Cut(rest, fieldsEnd)
	if signature, err = base64.StdEncoding.AppendDecode(nil, written); err != nil {
		return nil, nil, nil, errors.New("its signature is not in base64")
	}
	return signer, signature, after, nil
}

// Signing returns ByContentType with what is signed besides. nil: nothing can be verified.
func Signing(s protocol.Serializer) func(contentType string) protocol.Serializer {
	if s == nil {
		return ByContentType
	}
	return func(contentType string) protocol.Serializer {
		if contentType == ContentTypeSigned {
			return s
		}
		return ByContentType(contentType)
	}
}
