package redisbackend

import (
	"bytes"

	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol/compression"
)

// compressedMark begins a record that a worker with result_compression stored
// (Celery 5.7 and later): the mark, kombu's name of the method, 0, the data.
var compressedMark = []byte("\x00celery-compressed\x00")

// decompress returns a record as it was before compression. Records without the
// mark are returned as they are.
func decompress(record []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(record, compressedMark)
	if !ok {
		return record, nil
	}
	method, data, _ := bytes.Cut(rest, []byte{0})
	return compression.Decompress(string(method), data, redisconn.MaxString)
}

// compress returns what stands for a record with result_compression.
func compress(record []byte, method string) ([]byte, error) {
	contentType, err := compression.ContentType(method)
	if err != nil {
		return nil, err
	}
	data, err := compression.Compress(method, record)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{append(bytes.Clone(compressedMark), contentType...), data}, []byte{0}), nil
}
