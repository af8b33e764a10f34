package redisbroker

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/apium/apium/protocol/pyjson"
)

// entry is a record of the unacked hash: what was claimed and where it came from.
// Kombu writes [<envelope>, "<exchange>", "<routing key>"]. We write the same
// with the queue as routing key. A message of ours that could not be an object is
// kept as a string of its bytes (U+0000 to U+00FF), so that the record stays JSON.
type entry struct {
	raw        []byte // the message
	exchange   string
	routingKey string
}

// entryTail returns the end of the records of messages claimed from a queue.
func entryTail(queue string) (string, error) {
	name, err := pyjson.Append(nil, queue)
	if err != nil {
		return "", fmt.Errorf("redisbroker: queue name %q: %w", queue, err)
	}
	return `,"",` + string(name) + `]`, nil
}

var errEntry = errors.New("not a list of envelope, exchange and routing key")

func decodeEntry(text []byte) (entry, error) {
	var e entry
	s := pyjson.NewScanner(text)
	if !s.Enter('[') {
		return e, errors.Join(errEntry, s.End())
	}
	n := 0
	for ; s.Next(); n++ {
		switch n {
		case 0:
			raw, isText := s.Text()
			if isText {
				e.raw = latin1(raw)
			} else {
				e.raw = s.Value()
			}
		case 1, 2:
			// Kombu takes a missing exchange (null) for the default one.
			name, _ := s.Text()
			if n == 1 {
				e.exchange = string(name)
			} else {
				e.routingKey = string(name)
			}
		}
	}
	if err := s.End(); err != nil {
		return e, err
	}
	if n != 3 {
		return e, errEntry
	}
	return e, nil
}

// latin1 returns the bytes that a string of code points up to U+00FF stands for.
func latin1(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		out = append(out, byte(r))
	}
	return out
}

// excerpt returns the first bytes of a message, for logs.
func excerpt(raw []byte) string {
	const limit = 120
	raw = bytes.TrimSpace(raw)
	if len(raw) > limit {
		return fmt.Sprintf("%q… (%d bytes)", raw[:limit], len(raw))
	}
	return fmt.Sprintf("%q", raw)
}
