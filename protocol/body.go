package protocol

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

// inflatedMost is how many bytes a compressed body may become unless [Decoder.MaxDecompressed]
// says so: much more than any that people send, and little enough for a worker to survive
// those that are made to grow.
func inflatedMost(packed int) int { return min(16<<20+200*packed, 256<<20) }

// content returns the JSON text of a body that was received: unwrapped, decompressed,
// translated and checked, except for its syntax.
func (d *Decoder) content(w *wrapped, contentType string) ([]byte, error) {
	if contentType == "" {
		return nil, &DecodeError{"content-type", errMissing}
	}
	body := w.text
	var err error
	if w.unwrap != nil {
		if body, err = w.unwrap(body); err != nil {
			return nil, err
		}
	}
	if method := w.compression; method != "" {
		if d.Decompress == nil {
			return nil, &DecodeError{"body", fmt.Errorf("compression %q is not supported", method)}
		}
		limit := d.MaxDecompressed
		if limit == 0 {
			limit = inflatedMost(len(body))
		}
		if body, err = d.Decompress(method, body, limit); err != nil {
			return nil, &DecodeError{"body", err}
		}
	}
	if len(body) == 0 {
		return nil, &DecodeError{"body", errors.New("empty")}
	}
	if contentType != ContentTypeJSON {
		if body, err = d.translate(body, contentType); err != nil {
			return nil, &DecodeError{"body", &UnreadableError{err}}
		}
	}
	if !utf8.Valid(body) {
		return nil, &DecodeError{"body", errors.New("invalid UTF-8")}
	}
	if bytes.Contains(body, []byte("__type__")) {
		if err := pyjson.CheckTypes(body); err != nil {
			return nil, &DecodeError{"body", err}
		}
	}
	return body, nil
}

// translate makes JSON of a body in another serializer.
func (d *Decoder) translate(body []byte, contentType string) ([]byte, error) {
	if d.Serializer != nil {
		if s := d.Serializer(contentType); s != nil {
			return s.ToJSON(body)
		}
	}
	if contentType == contentTypeData && isSigned(body) {
		return nil, errSigned
	}
	return nil, fmt.Errorf("content type %s is not supported", contentType)
}

// isSigned recognizes what Celery's auth serializer writes: base64 of five parts
// (celery/security/serialization.py, SecureSerializer._pack).
func isSigned(body []byte) bool {
	fields := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Decode(fields, body)
	return err == nil && bytes.Count(fields[:n], []byte("\x00\x01")) >= 4
}
