package rabbitconn

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
)

// PriorityGiven is set in the delivery mode of messages that have a priority, be it 0: in what is
// received, and in what is to be published. AMQP tells a priority of 0 from none, and so does
// Python; the library does not. It never leaves this process.
const PriorityGiven = 0x80

// HeadersGiven is set in the delivery mode of messages that are to be published with headers, be they none:
// kombu writes an empty table, the library nothing. It never leaves this process.
const HeadersGiven = 0x40

// framed is a network connection where the headers of messages are mended on their way: a priority
// of 0 can be sent and told from none, so can empty headers, and no header is received at which the library gives up the
// connection, again and again as the message comes again: see mendTable.
type framed struct {
	net.Conn

	silent bool // the server is not to want heartbeats: see mendTune

	in     *bufio.Reader
	passed int    // how many bytes that are coming in need no look
	mended []byte // a frame that was mended, as far as it has not been read

	greeted bool   // the protocol header is out
	passing int    // how many bytes that are going out need no look
	partial []byte // the beginning of a frame that is going out
	out     []byte // reused
}

func newFramed(nc net.Conn) *framed { return &framed{Conn: nc, in: bufio.NewReaderSize(nc, 32<<10)} }

// A frame has its type, channel (2 bytes) and size (4 bytes), so many bytes, and an end mark.
const (
	frameHead   = 7
	methodFrame = 1       // a type
	headerFrame = 2       // another
	headerMost  = 1 << 20 // bytes; RabbitMQ's frames have 128 KiB
	greeting    = len("AMQP\x00\x00\x09\x01")
)

func frameSize(head []byte) int { return frameHead + int(binary.BigEndian.Uint32(head[3:])) + 1 }

func (f *framed) Read(p []byte) (int, error) {
	for len(f.mended) == 0 && f.passed == 0 {
		head, err := f.in.Peek(frameHead)
		if len(head) < frameHead {
			if len(head) > 0 {
				return f.in.Read(p)
			}
			return 0, err
		}
		size := frameSize(head)
		tunes := f.silent && head[0] == methodFrame && head[1] == 0 && head[2] == 0 // it may
		if head[0] != headerFrame && !tunes || size > headerMost {
			f.passed = size
			break
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(f.in, frame); err != nil {
			return 0, err
		}
		if tunes {
			mendTune(frame[frameHead : size-1])
		} else {
			mendReceived(frame[frameHead : size-1])
		}
		f.mended = frame
	}
	if len(f.mended) > 0 {
		n := copy(p, f.mended)
		f.mended = f.mended[n:]
		return n, nil
	}
	n, err := f.in.Read(p[:min(len(p), f.passed)])
	f.passed -= n
	return n, err
}

func (f *framed) Write(p []byte) (int, error) {
	f.partial = append(f.partial, p...)
	rest, out := f.partial, f.out[:0]
	if !f.greeted && len(rest) >= greeting {
		f.greeted, f.passing = true, greeting
	}
	for f.greeted && len(rest) > 0 {
		if f.passing > 0 {
			n := min(f.passing, len(rest))
			out, rest = append(out, rest[:n]...), rest[n:]
			f.passing -= n
			continue
		}
		if len(rest) < frameHead {
			break
		}
		size := frameSize(rest)
		if rest[0] != headerFrame {
			f.passing = size
			continue
		}
		if len(rest) < size {
			break
		}
		out, rest = appendSent(out, rest[:size]), rest[size:]
	}
	f.partial, f.out = append(f.partial[:0], rest...), out
	if len(out) > 0 {
		if _, err := f.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flags of the properties that a header frame has, and where they are: behind class, weight and
// the size of the body.
const (
	hasContentType     = 1 << 15
	hasContentEncoding = 1 << 14
	hasHeaders         = 1 << 13
	hasDeliveryMode    = 1 << 12
	hasPriority        = 1 << 11

	flagsAt = 12
)

// properties finds the headers, which are a table, and the delivery mode in a header frame's payload.
// mode is 0 if it has none, or is none.
func properties(payload []byte) (flags uint16, headers []byte, mode int) {
	if len(payload) < flagsAt+2 {
		return 0, nil, 0
	}
	flags = binary.BigEndian.Uint16(payload[flagsAt:])
	at := flagsAt + 2
	for _, text := range []uint16{hasContentType, hasContentEncoding} {
		if flags&text == 0 {
			continue
		}
		if at >= len(payload) {
			return flags, nil, 0
		}
		at += 1 + int(payload[at])
	}
	if flags&hasHeaders != 0 {
		if at+4 > len(payload) {
			return flags, nil, 0
		}
		end := at + 4 + int(binary.BigEndian.Uint32(payload[at:]))
		if end > len(payload) {
			return flags, nil, 0
		}
		headers, at = payload[at+4:end], end
	}
	if flags&hasDeliveryMode != 0 && at < len(payload) {
		mode = at
	}
	return flags, headers, mode
}

// mendTune has connection.tune (class 10, method 30) propose no heartbeats: the library takes the server's
// proposal where it has none, and AMQP leaves it to the client.
func mendTune(payload []byte) {
	const heartbeat = 10 // behind both numbers and the greatest numbers of channels and bytes
	if len(payload) == heartbeat+2 && binary.BigEndian.Uint32(payload) == 10<<16|30 {
		payload[heartbeat], payload[heartbeat+1] = 0, 0
	}
}

// mendReceived changes the payload of a header frame that has come.
func mendReceived(payload []byte) {
	flags, headers, mode := properties(payload)
	if flags&hasPriority != 0 && mode > 0 {
		payload[mode] |= PriorityGiven
	}
	mendTable(headers)
}

// appendSent appends a header frame as it is sent.
func appendSent(dst, frame []byte) []byte {
	flags, _, mode := properties(frame[frameHead : len(frame)-1])
	if mode == 0 {
		return append(dst, frame...)
	}
	start, at := len(dst), frameHead+mode
	given, none := frame[at], [4]byte{}
	dst = append(dst, frame[:at]...)
	if given&HeadersGiven != 0 && flags&hasHeaders == 0 {
		flags |= hasHeaders
		dst = append(dst, none[:]...) // a table's size
	}
	dst = append(dst, given&^(PriorityGiven|HeadersGiven))
	if given&PriorityGiven != 0 && flags&hasPriority == 0 {
		flags |= hasPriority
		dst = append(dst, 0)
	}
	dst = append(dst, frame[at+1:]...)
	sent := dst[start:]
	binary.BigEndian.PutUint32(sent[3:], uint32(len(sent)-frameHead-1))
	binary.BigEndian.PutUint16(sent[frameHead+flagsAt:], flags)
	return dst
}
