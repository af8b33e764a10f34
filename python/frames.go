package python

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

const (
	frameStart  = 4 + 8 + 4
	afterLength = frameStart - 4
	// maxFrame is what a child may send at once: what Redis takes as one value, and a head.
	maxFrame = 640 << 20
)

// frame is what passes through a child's socket. See the package documentation.
type frame struct {
	job  uint64
	head []byte
	body []byte
}

// write writes a frame.
func (f *frame) write(w net.Conn) error {
	start := make([]byte, frameStart, frameStart+len(f.head))
	binary.BigEndian.PutUint32(start, uint32(afterLength+len(f.head)+len(f.body))) //nolint:gosec // bounded by what a broker delivers
	binary.BigEndian.PutUint64(start[4:], f.job)
	binary.BigEndian.PutUint32(start[12:], uint32(len(f.head))) //nolint:gosec // shorter than that
	buffers := net.Buffers{append(start, f.head...), f.body}
	_, err := buffers.WriteTo(w)
	return err
}

// readFrame reads the next frame. What is none is an error that says so.
func readFrame(r *bufio.Reader) (frame, error) {
	var start [frameStart]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return frame{}, err
	}
	length, head := binary.BigEndian.Uint32(start[:]), binary.BigEndian.Uint32(start[12:])
	if length < afterLength || length > maxFrame || head > length-afterLength {
		return frame{}, &garbageError{fmt.Sprintf("a frame of %d bytes with a head of %d", length, head)}
	}
	rest, err := readRest(r, int(length-afterLength))
	if err != nil {
		return frame{}, err
	}
	return frame{job: binary.BigEndian.Uint64(start[4:]), head: rest[:head:head], body: rest[head:]}, nil
}

// readRest reads n bytes, without making room for what does not come.
func readRest(r io.Reader, n int) ([]byte, error) {
	const atOnce = 1 << 20
	rest := make([]byte, 0, min(n, atOnce))
	for len(rest) < n {
		from := len(rest)
		rest = append(rest, make([]byte, min(n-from, max(atOnce, from)))...)
		if _, err := io.ReadFull(r, rest[from:]); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// garbageError is that of a child that does not keep to the protocol.
type garbageError struct{ what string }

func (e *garbageError) Error() string { return "it sent " + e.what }

// messageFrame is a message for a child: its headers and properties as they came, and its body. With tells the child shall say
// what the task has returned, too.
func messageFrame(job uint64, r *protocol.Received, tells bool) (frame, error) {
	body := r.Body
	if r.Unwrap != nil {
		var err error
		if body, err = r.Unwrap(body); err != nil {
			return frame{}, err
		}
	}
	headers, properties := r.Headers.Raw(), r.Properties
	head := make([]byte, 0, len(headers)+len(properties)+256)
	head = append(head, `{"headers": `...)
	head = appendObject(head, headers)
	head = append(head, `, "properties": `...)
	head = appendObject(head, properties)
	head = appendText(append(head, `, "content_type": `...), r.ContentType)
	head = appendText(append(head, `, "content_encoding": `...), r.ContentEncoding)
	head = appendText(append(head, `, "exchange": `...), r.Exchange)
	head = appendText(append(head, `, "routing_key": `...), r.RoutingKey)
	head = append(head, `, "redelivered": `...)
	if r.Redelivered {
		head = append(head, "true"...)
	} else {
		head = append(head, "false"...)
	}
	if tells {
		head = append(head, `, "tell": true`...)
	}
	head = append(head, '}')
	return frame{job: job, head: head, body: body}, nil
}

func appendObject(dst, raw []byte) []byte {
	if len(raw) == 0 {
		return append(dst, "{}"...)
	}
	return append(dst, raw...)
}

func appendText(dst, text []byte) []byte {
	if text == nil {
		return append(dst, "null"...)
	}
	return pyjson.AppendString(dst, string(text))
}
