package redisbackend

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"fmt"
	"io"
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
	var r io.Reader
	var err error
	switch string(method) {
	case "application/x-gzip": // kombu's name for zlib
		r, err = zlib.NewReader(bytes.NewReader(data))
	case "application/x-bz2":
		r = bzip2.NewReader(bytes.NewReader(data))
	default:
		return nil, fmt.Errorf("compressed with %s, which is not supported (gzip and bzip2 are)", method)
	}
	if err != nil {
		return nil, fmt.Errorf("compressed with %s: %w", method, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err == nil && len(plain) > maxRecord {
		err = fmt.Errorf("more than %d bytes", maxRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("compressed with %s: %w", method, err)
	}
	return plain, nil
}
