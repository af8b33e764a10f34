package protocol

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/apium/apium/protocol/pyjson"
)

// maxInflated limits what a compressed body may become: 512 MiB, the size of the
// largest Redis string, which is the limit for a body that is not compressed.
const maxInflated = 512 << 20

// content returns the JSON text of the body: unwrapped, inflated and checked, except
// for its syntax.
func (e *envelope) content(contentType string) ([]byte, error) {
	if contentType == "" {
		return nil, &DecodeError{"content-type", errMissing}
	}
	body, err := e.unwrap()
	if err != nil {
		return nil, err
	}
	if len(e.headers.compression) > 0 {
		if body, err = inflate(body, string(e.headers.compression)); err != nil {
			return nil, &DecodeError{"body", err}
		}
	}
	switch {
	case contentType != ContentTypeJSON:
		return nil, &DecodeError{"body", fmt.Errorf("content type %s is not supported", contentType)}
	case len(body) == 0:
		return nil, &DecodeError{"body", errors.New("empty")}
	case !utf8.Valid(body):
		return nil, &DecodeError{"body", errors.New("invalid UTF-8")}
	}
	if bytes.Contains(body, []byte("__type__")) {
		if err := pyjson.CheckTypes(body); err != nil {
			return nil, &DecodeError{"body", err}
		}
	}
	return body, nil
}

// unwrap undoes body_encoding.
func (e *envelope) unwrap() ([]byte, error) {
	encoding := e.properties.bodyEncoding
	if len(encoding) == 0 || bytes.EqualFold(encoding, []byte("utf-8")) {
		return e.body, nil
	}
	if string(encoding) != "base64" {
		return nil, &DecodeError{"properties.body_encoding", fmt.Errorf("unknown encoding %q", encoding)}
	}
	body := make([]byte, base64.StdEncoding.DecodedLen(len(e.body)))
	n, err := base64.StdEncoding.Decode(body, e.body)
	if err != nil {
		return nil, &DecodeError{"body", err}
	}
	return body[:n], nil
}

// inflate undoes kombu's compression. What kombu calls gzip is a zlib stream.
func inflate(body []byte, method string) ([]byte, error) {
	var r io.Reader
	switch method {
	case "application/x-gzip", "gzip", "zlib":
		var err error
		if r, err = zlib.NewReader(bytes.NewReader(body)); err != nil {
			return nil, fmt.Errorf("decompressing: %w", err)
		}
	case "application/x-bz2", "bzip2", "bzip":
		r = bzip2.NewReader(bytes.NewReader(body))
	default:
		return nil, fmt.Errorf("compression %q is not supported", method)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	if len(plain) > maxInflated {
		return nil, fmt.Errorf("decompressing: more than %d bytes", maxInflated)
	}
	return plain, nil
}
