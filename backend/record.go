package backend

import (
	"bytes"
	"errors"

	"github.com/apium/apium/protocol"
)

// ErrClosed is returned by every method of a Store or Loader after Close.
var ErrClosed = errors.New("backend: closed")

// statusPrefix is how Celery's JSON begins a record.
var statusPrefix = []byte(`{"status": "`)

// State returns the state a record says. Celery's own records, which begin with
// their status, are not decoded for it.
func State(record []byte) (protocol.State, error) {
	if rest, ok := bytes.CutPrefix(record, statusPrefix); ok {
		for _, s := range []protocol.State{protocol.Success, protocol.Failure, protocol.Started, protocol.Retry, protocol.Revoked} {
			if name, ok := bytes.CutPrefix(rest, []byte(s)); ok && bytes.HasPrefix(name, []byte{'"'}) {
				return s, nil
			}
		}
	}
	result, err := protocol.DecodeResult(record)
	if err != nil {
		return "", err
	}
	return result.State, nil
}
