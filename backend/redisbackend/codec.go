package redisbackend

import (
	"bytes"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

var _ backend.Encoder = (*Backend)(nil)

// Encode implements backend.Encoder.
func (b *Backend) Encode(r backend.Record) (backend.Record, error) {
	if b.plainly() {
		return r, nil
	}
	var err error
	r.Encoded, err = b.encode(r.Document)
	return r, err
}

// plainly tells that records are stored as the JSON that they are.
func (b *Backend) plainly() bool { return b.serializer == nil && b.compression == "" }

// encode writes a record, which is JSON, as it is stored.
func (b *Backend) encode(record []byte) ([]byte, error) {
	encoded, err := b.serialize(record)
	if err != nil || b.compression == "" {
		return encoded, err
	}
	return compress(encoded, b.compression)
}

// serialize writes a record in the configured serializer.
func (b *Backend) serialize(record []byte) ([]byte, error) {
	if b.serializer == nil {
		return record, nil
	}
	encoded, err := b.serializer.RecordFromJSON(record)
	if err == nil {
		return encoded, nil
	}
	result, decodeErr := protocol.DecodeResult(record)
	if decodeErr != nil {
		return nil, err
	}
	if more := result.Extended; more != nil { // Celery stores nothing then, and the caller waits in vain
		more.Args, more.Kwargs = b.storable(more.Args), b.storable(more.Kwargs)
	}
	if result.State != protocol.Success {
		result.Result = b.storableException(result.Result)
	}
	return b.serializer.RecordFromJSON(result.Append(nil))
}

// has tells whether the serializer has a value.
func (b *Backend) has(raw []byte) bool {
	_, err := b.serializer.FromJSON(raw)
	return err == nil
}

// storable replaces a value that the serializer refuses by its repr.
func (b *Backend) storable(raw []byte) []byte {
	if raw == nil || b.has(raw) {
		return raw
	}
	text, err := pyjson.Append(nil, protocol.SafeRepr(raw))
	if err != nil {
		return raw
	}
	return text
}

// decode returns a stored record as JSON. It may be compressed, and is in the
// configured serializer, or was stored before that was configured.
func (b *Backend) decode(stored []byte) ([]byte, error) {
	record, err := decompress(stored)
	if err != nil || len(record) == 0 || b.serializer == nil || isJSON(record) {
		return record, err
	}
	if record, err = b.serializer.RecordToJSON(record); err != nil {
		return nil, fmt.Errorf("in serializer %s: %w", b.serializer.Name(), err)
	}
	return record, nil
}

// isJSON recognizes Celery's JSON. Our YAML is much like it, but ends its line.
func isJSON(record []byte) bool {
	return bytes.HasPrefix(record, []byte(`{"status": "`)) && record[len(record)-1] == '}' && pyjson.Valid(record) == nil
}

// storableException replaces the arguments of an exception that the serializer refuses
// by their repr, as Celery does: they may be anything.
func (b *Backend) storableException(raw []byte) []byte {
	exception, err := protocol.DecodeException(raw)
	if err != nil || b.has(raw) {
		return raw
	}
	args := pyjson.Elements(exception.Message)
	for i, arg := range args {
		args[i] = b.storable(arg)
	}
	exception.Message = pyjson.AppendArray(nil, args)
	return exception.Append(nil)
}

// encodeAll returns records as they are stored. refused is about single ones.
func (b *Backend) encodeAll(records []backend.Record) (encoded []backend.Record, refused []error) {
	if b.plainly() {
		return records, nil
	}
	for _, r := range records {
		if r.Encoded == nil {
			var err error
			if r, err = b.Encode(r); err != nil {
				refused = append(refused, &backend.RecordError{TaskID: r.TaskID, Err: err})
				continue
			}
		}
		encoded = append(encoded, backend.Record{TaskID: r.TaskID, Document: r.Encoded})
	}
	return encoded, refused
}
