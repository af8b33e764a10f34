package sqlbackend

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer"
)

// codec translates values, which are JSON, to and from the result serializer.
type codec struct {
	serializer *serializer.Serializer // nil: JSON
	results    *serializer.Serializer // that results and groups are written in; nil: JSON
}

func newCodec(cfg *Config, s *serializer.Serializer) codec {
	c := codec{serializer: s, results: s}
	if cfg.Layout == SQLAlchemy && cfg.Pickled {
		c.results, _ = serializer.Lookup("pickle")
	}
	return c
}

// Encoder is there for serializers that do not have every value that JSON has.
var _ backend.Encoder = (*Backend)(nil)

// Encode implements backend.Encoder.
func (b *Backend) Encode(r backend.Record) (backend.Record, error) {
	if b.codec.results == nil {
		return r, nil
	}
	result, err := protocol.DecodeResult(r.Document)
	if err != nil {
		return r, err
	}
	r.Encoded, err = b.codec.result(result)
	return r, err
}

// result encodes a task's result or exception. An exception's arguments that the serializer does not
// have are replaced by their repr, as in Celery: they may be anything.
func (c *codec) result(r *protocol.Result) ([]byte, error) {
	encoded, err := encode(c.results, r.Result)
	if err == nil || r.State == protocol.Success {
		return encoded, err
	}
	exception, decodeErr := protocol.DecodeException(r.Result)
	if decodeErr != nil {
		return nil, err
	}
	args := pyjson.Elements(exception.Message)
	for i, arg := range args {
		if _, err := encode(c.results, arg); err != nil {
			args[i] = pyjson.AppendString(nil, protocol.SafeRepr(arg))
		}
	}
	exception.Message = pyjson.AppendArray(nil, args)
	return encode(c.results, exception.Append(nil))
}

// encode encodes JSON.
func (c *codec) encode(raw []byte) ([]byte, error) { return encode(c.serializer, raw) }

func encode(s *serializer.Serializer, raw []byte) ([]byte, error) {
	if raw == nil {
		raw = []byte("null")
	}
	if s == nil {
		return raw, nil
	}
	return s.FromJSON(raw)
}

// loose encodes JSON, or its repr if the serializer does not have the value; null is nil.
func (c *codec) loose(raw []byte) ([]byte, error) {
	if raw == nil || string(raw) == "null" {
		return nil, nil
	}
	encoded, err := c.encode(raw)
	if err != nil {
		return c.encode(pyjson.AppendString(nil, protocol.SafeRepr(raw)))
	}
	return encoded, nil
}

// contentType and contentEncoding are what Django's tables say of the columns.
func (c *codec) contentType() any {
	if c.serializer == nil {
		return protocol.ContentTypeJSON
	}
	return c.serializer.ContentType()
}

func (c *codec) contentEncoding() any {
	if c.serializer == nil {
		return "utf-8"
	}
	return c.serializer.ContentEncoding()
}

// text is what stands in a text column of Django's: what is binary in base64.
func (c *codec) text(encoded []byte) any {
	switch {
	case encoded == nil:
		return nil
	case c.contentEncoding() == "binary":
		return base64.StdEncoding.EncodeToString(encoded)
	}
	return string(encoded)
}

// decode returns as JSON what a column holds, in that serializer. Celery before 5.7 wrote pickle
// whatever the serializer.
func decode(s *serializer.Serializer, encoded []byte) ([]byte, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	decoded, err := plain(s, encoded)
	if err != nil && encoded[0] == pickleProtocol {
		pickle, lookupErr := serializer.Lookup("pickle")
		if lookupErr != nil {
			return nil, lookupErr
		}
		decoded, err = pickle.RecordToJSON(encoded)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnreadable, err)
	}
	return decoded, nil
}

func plain(s *serializer.Serializer, encoded []byte) ([]byte, error) {
	if s == nil {
		return encoded, pyjson.Valid(encoded)
	}
	return s.RecordToJSON(encoded)
}

// pickleProtocol begins every pickle of protocol 2 and later.
const pickleProtocol = 0x80

// decodeText is decode for a column of Django's, which says what is in it.
func decodeText(contentType, contentEncoding string, stored []byte) ([]byte, error) {
	if len(stored) == 0 {
		return nil, nil
	}
	s, err := serializer.Lookup(contentType)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrUnreadable, err)
	}
	if contentEncoding == "binary" {
		plain, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(stored))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", backend.ErrUnreadable, err)
		}
		stored = plain
	}
	return decode(s, stored)
}
