package compat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// said is one method that a client has sent to RabbitMQ, with the message that belongs to it.
type said struct {
	method     string
	arguments  map[string]any // bits are bool
	properties map[string]any // of a message
	body       string
}

// recorder passes on what a client and RabbitMQ say to each other, and keeps what the client says.
type recorder struct {
	listener net.Listener
	to       string

	mu  sync.Mutex
	all []said
	bad []error
}

func newRecorder(t *testing.T, to string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{listener: l, to: to}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go r.join(near)
		}
	}()
	return r
}

func (r *recorder) addr() string { return r.listener.Addr().String() }

func (r *recorder) join(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(near, far) // it ends with the connection
		near.Close()
	}()
	copies, end := io.Pipe()
	go func() {
		_, _ = io.Copy(io.MultiWriter(far, end), near)
		end.Close()
	}()
	if err := r.listen(copies); err != nil {
		r.mu.Lock()
		r.bad = append(r.bad, err)
		r.mu.Unlock()
		_, _ = io.Copy(io.Discard, copies)
	}
}

// said returns what clients have said, and fails the test if some of it could not be read.
func (r *recorder) said(t *testing.T) []said {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.bad {
		t.Errorf("a frame cannot be read: %v", err)
	}
	return slices.Clone(r.all)
}

// listen reads one connection's frames.
func (r *recorder) listen(in io.Reader) error {
	var head [7]byte
	if _, err := io.ReadFull(in, make([]byte, len("AMQP\x00\x00\x09\x01"))); err != nil {
		return nil //nolint:nilerr // nobody has said anything
	}
	open := map[uint16]*said{} // publications by channel, whose message is not complete
	left := map[uint16]int{}
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return nil //nolint:nilerr // it is the end of the connection
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err := io.ReadFull(in, frame); err != nil {
			return nil //nolint:nilerr // it is the end of the connection
		}
		channel, payload := binary.BigEndian.Uint16(head[1:]), frame[:len(frame)-1]
		switch head[0] {
		case 1:
			s, err := readMethod(payload)
			if err != nil {
				return err
			}
			if s.method == "basic.publish" {
				open[channel] = &s
			} else if s.method != "" {
				r.keep(s)
			}
		case 2:
			s := open[channel]
			if s == nil {
				return fmt.Errorf("a message without basic.publish on channel %d", channel)
			}
			left[channel] = int(binary.BigEndian.Uint64(payload[4:]))
			var err error
			if s.properties, err = readProperties(payload[12:]); err != nil {
				return err
			}
		case 3:
			open[channel].body += string(payload)
			left[channel] -= len(payload)
		}
		if s := open[channel]; s != nil && s.properties != nil && left[channel] == 0 {
			r.keep(*s)
			delete(open, channel)
		}
	}
}

func (r *recorder) keep(s said) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
}

// methods are what clients of interest say: class and number, and the arguments by their types: h is two bytes that mean
// nothing, w a short, l a long, q a longlong, s a short text, b bits, T a table.
var methods = map[uint32]string{
	40<<16 | 10: "exchange.declare h s:exchange s:type b:passive,durable,auto_delete,internal,nowait T:arguments",
	40<<16 | 30: "exchange.bind h s:destination s:source s:routing_key b:nowait T:arguments",
	50<<16 | 10: "queue.declare h s:queue b:passive,durable,exclusive,auto_delete,nowait T:arguments",
	50<<16 | 20: "queue.bind h s:queue s:exchange s:routing_key b:nowait T:arguments",
	60<<16 | 10: "basic.qos l:size w:count b:global",
	60<<16 | 20: "basic.consume h s:queue s:consumer_tag b:no_local,no_ack,exclusive,nowait T:arguments",
	60<<16 | 30: "basic.cancel s:consumer_tag b:nowait",
	60<<16 | 40: "basic.publish h s:exchange s:routing_key b:mandatory,immediate",
	60<<16 | 80: "basic.ack q:tag b:multiple",
	60<<16 | 90: "basic.reject q:tag b:requeue",
	85<<16 | 10: "confirm.select b:nowait",
}

// readMethod reads one of methods; others have no name.
func readMethod(payload []byte) (s said, err error) {
	form, ok := methods[binary.BigEndian.Uint32(payload)]
	if !ok {
		return said{}, nil
	}
	fields := strings.Fields(form)
	s = said{method: fields[0], arguments: map[string]any{}}
	in := &frameReader{payload[4:], nil}
	for _, field := range fields[1:] {
		kind, name, _ := strings.Cut(field, ":")
		switch kind {
		case "h":
			in.take(2)
		case "w":
			s.arguments[name] = int(binary.BigEndian.Uint16(in.take(2)))
		case "l":
			s.arguments[name] = int(binary.BigEndian.Uint32(in.take(4)))
		case "q":
			s.arguments[name] = int(binary.BigEndian.Uint64(in.take(8)))
		case "s":
			s.arguments[name] = in.shortText()
		case "T":
			s.arguments[name] = in.table()
		case "b":
			bits := in.take(1)[0]
			for i, bit := range strings.Split(name, ",") {
				s.arguments[bit] = bits>>i&1 == 1
			}
		}
	}
	return s, in.err
}

// readProperties reads the properties of a message, in the order of their flags.
func readProperties(payload []byte) (map[string]any, error) {
	properties := map[string]any{}
	flags := binary.BigEndian.Uint16(payload)
	in := &frameReader{payload[2:], nil}
	for i, name := range []string{
		"content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to", "expiration",
		"message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
	} {
		if flags>>(15-i)&1 == 0 {
			continue
		}
		switch name {
		case "headers":
			properties[name] = in.table()
		case "delivery_mode", "priority":
			properties[name] = int(in.take(1)[0])
		case "timestamp":
			properties[name] = int(binary.BigEndian.Uint64(in.take(8)))
		default:
			properties[name] = in.shortText()
		}
	}
	return properties, in.err
}

// frameReader reads a frame; after an error what it returns is empty.
type frameReader struct {
	rest []byte
	err  error
}

func (f *frameReader) take(n int) []byte {
	if f.err != nil || n < 0 || n > len(f.rest) {
		f.err = io.ErrUnexpectedEOF
		return make([]byte, min(max(n, 8), 1<<10))
	}
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}

func (f *frameReader) shortText() string { return string(f.take(int(f.take(1)[0]))) }

func (f *frameReader) longText() []byte { return f.take(int(binary.BigEndian.Uint32(f.take(4)))) }

func (f *frameReader) table() map[string]any {
	table, in := map[string]any{}, &frameReader{f.longText(), f.err}
	for len(in.rest) > 0 && in.err == nil {
		name := in.shortText()
		table[name] = in.value()
	}
	f.err = in.err
	return table
}

// value reads a table's value. Its type is a part of it, but for the letters that mean the same to RabbitMQ.
func (f *frameReader) value() any {
	letter := f.take(1)[0]
	switch letter {
	case 't':
		return f.take(1)[0] != 0
	case 'b', 'B':
		return fmt.Sprintf("%c %d", letter, f.take(1)[0])
	case 'I':
		return fmt.Sprintf("I %d", int32(binary.BigEndian.Uint32(f.take(4))))
	case 'l', 'L', 'T':
		return fmt.Sprintf("%s %d", strings.ToLower(string(letter)), int64(binary.BigEndian.Uint64(f.take(8))))
	case 'd':
		return fmt.Sprintf("d %v", math.Float64frombits(binary.BigEndian.Uint64(f.take(8))))
	case 'S':
		return "S " + string(f.longText())
	case 'V':
		return nil
	case 'F':
		return f.table()
	case 'A':
		in, list := &frameReader{f.longText(), f.err}, []any{}
		for len(in.rest) > 0 && in.err == nil {
			list = append(list, in.value())
		}
		f.err = in.err
		return list
	}
	f.err = fmt.Errorf("a value of type %q", letter)
	return nil
}

// line is a method with its arguments that are not the usual ones, in one line.
func (s *said) line(leaveOut ...string) string {
	var b bytes.Buffer
	b.WriteString(s.method)
	for _, arguments := range []map[string]any{s.arguments, s.properties} {
		for _, name := range slices.Sorted(maps.Keys(arguments)) {
			value := arguments[name]
			if value == false || slices.Contains(leaveOut, name) {
				continue
			}
			if table, ok := value.(map[string]any); ok && len(table) == 0 {
				continue
			}
			fmt.Fprintf(&b, " %s=%v", name, value)
		}
	}
	return b.String()
}
