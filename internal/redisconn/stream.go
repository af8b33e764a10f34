package redisconn

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// Stream is an argument that is made while it is sent, so that it is never in memory as a whole. Pieces yields Size
// bytes in all, and the same ones each time, as a command may have to be sent again. A piece is in use until the
// next one is asked for. Only a Pipeline takes streams.
type Stream struct {
	Size   int
	Pieces iter.Seq[[]byte]
}

const (
	// StreamFrom is how many bytes a text has at least that is worth a Stream.
	StreamFrom = 128 << 10
	// MaxString is how many bytes the longest string has that Redis takes.
	MaxString = 512 << 20
)

// isOurs tells whether an argument is none that redigo knows.
func isOurs(arg any) bool {
	switch arg.(type) {
	case Stream, *Texts:
		return true
	}
	return false
}

// encode adds a command to what is to be sent. p.mu is held.
func (s *session) encode(cmd string, args []any) error {
	if !slices.ContainsFunc(args, isOurs) {
		return s.conn.Send(cmd, args...)
	}
	if err := s.conn.Flush(); err != nil { // what redigo has before it
		return err
	}
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	out := &s.wire.out
	var head [16]byte
	out.add(appendHead(head[:0], '*', 1+count(args)))
	out.argument([]byte(cmd))
	for _, arg := range args {
		switch arg := arg.(type) {
		case Stream:
			out.add(appendHead(nil, '$', arg.Size))
			out.stream(arg.Pieces)
			out.add([]byte("\r\n"))
		case *Texts:
			out.add(arg.wire)
		case []byte:
			out.argument(arg)
		case string:
			out.argument([]byte(arg))
		default:
			out.argument(fmt.Append(nil, arg))
		}
	}
	return nil
}

func (o *outgoing) argument(text []byte) {
	o.add(appendHead(nil, '$', len(text)))
	o.add(text)
	o.add([]byte("\r\n"))
}

func appendHead(dst []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(dst, kind), int64(n), 10), "\r\n"...)
}
