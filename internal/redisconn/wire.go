package redisconn

import (
	"bufio"
	"iter"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// LargeText is from how many bytes on arguments are not copied; redigo's own buffer, which is used again, is smaller.
const LargeText = 64 << 10

const (
	readBuffer = 64 << 10
	sendPiece  = 256 << 10
	keepBuffer = 1 << 20 // an output buffer does not grow beyond this
)

// wire is the network connection, or that of TLS, under a Pipeline's redigo connection. redigo
// writes whenever its 4 KiB are full and sets a deadline for every reply; here
// output only gathers until the sender takes it, input is read in large pieces,
// and deadlines are left to the Pipeline's watchdog.
type wire struct {
	net.Conn
	established bool // set once after dialing; before, everything passes straight through
	in          *bufio.Reader
	bytesIn     atomic.Int64
	bytesOut    atomic.Int64
	sending     atomic.Bool

	mu  sync.Mutex
	out outgoing
}

// outgoing is what is to be sent: the pieces in their order, and then what gathers after them.
type outgoing struct {
	pieces []piece
	rest   []byte
}

// piece is a text, or is made as it is sent.
type piece struct {
	text   []byte
	stream iter.Seq[[]byte] // nil: there is the text
}

func (o *outgoing) empty() bool { return len(o.pieces)+len(o.rest) == 0 }

func (o *outgoing) add(p []byte) {
	if large := len(p) >= LargeText; large || len(o.rest)+len(p) > keepBuffer {
		o.cut()
		if large {
			o.pieces = append(o.pieces, piece{text: p})
			return
		}
	}
	o.rest = append(o.rest, p...)
}

func (o *outgoing) stream(pieces iter.Seq[[]byte]) {
	o.cut()
	o.pieces = append(o.pieces, piece{stream: pieces})
}

// cut makes a piece of what has gathered.
func (o *outgoing) cut() {
	if len(o.rest) > 0 {
		o.pieces, o.rest = append(o.pieces, piece{text: o.rest}), nil
	}
}

func newWire(nc net.Conn) *wire { return &wire{Conn: nc} }

// establish ends the dialing phase, and with it the deadline of dialing. It must
// come before concurrent use.
func (w *wire) establish() {
	_ = w.Conn.SetDeadline(time.Time{}) // if it fails, so does what is read and written next
	w.in = bufio.NewReaderSize(w.Conn, readBuffer)
	w.established = true
}

func (w *wire) Read(p []byte) (int, error) {
	if !w.established {
		return w.Conn.Read(p)
	}
	n, err := w.in.Read(p)
	w.bytesIn.Add(int64(n))
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.established {
		return w.Conn.Write(p)
	}
	w.mu.Lock()
	w.out.add(p)
	w.mu.Unlock()
	return len(p), nil
}

// send writes output to the network, piece by piece, so that a slow link can be told from
// a dead one.
func (w *wire) send(out outgoing) error {
	w.sending.Store(true)
	defer w.sending.Store(false)
	for _, piece := range out.pieces {
		if piece.stream == nil {
			if err := w.sendText(piece.text); err != nil {
				return err
			}
			continue
		}
		for text := range piece.stream {
			if err := w.sendText(text); err != nil {
				return err
			}
		}
	}
	return w.sendText(out.rest)
}

func (w *wire) sendText(p []byte) error {
	for len(p) > 0 {
		n, err := w.Conn.Write(p[:min(len(p), sendPiece)])
		w.bytesOut.Add(int64(n))
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// take returns the gathered output and leaves the buffer of what was sent in its place.
func (w *wire) take(sent outgoing) outgoing {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.out
	w.out = outgoing{rest: sent.rest[:0]}
	return out
}

// SetDeadline, SetReadDeadline and SetWriteDeadline work while dialing only.

func (w *wire) SetDeadline(t time.Time) error {
	if w.established {
		return nil
	}
	return w.Conn.SetDeadline(t)
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if w.established {
		return nil
	}
	return w.Conn.SetReadDeadline(t)
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.established {
		return nil
	}
	return w.Conn.SetWriteDeadline(t)
}
