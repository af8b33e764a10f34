package redisbackend

import (
	"bytes"
	"fmt"

	"github.com/apium/apium/backend"
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
	encoded, err := b.serializer.EncodeRecord(record)
	if err != nil || b.compression == "" {
		return encoded, err
	}
	return compress(encoded, b.compression)
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
