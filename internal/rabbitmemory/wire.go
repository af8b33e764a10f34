package rabbitmemory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
)

// Types of frames, and what ends each.
const (
	methodFrame    = 1
	headerFrame    = 2
	bodyFrame      = 3
	heartbeatFrame = 8
	frameEnd       = 0xCE
)

// frameMax is what the server proposes, as RabbitMQ does.
const frameMax = 128 << 10

// frame is one frame.
type frame struct {
	kind    byte
	channel uint16
	payload []byte
}

var errFrame = errors.New("no frame of AMQP")

func readFrame(r io.Reader) (f frame, err error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	f.kind, f.channel = head[0], binary.BigEndian.Uint16(head[1:])
	size := binary.BigEndian.Uint32(head[3:])
	if size > frameMax {
		return f, errFrame
	}
	f.payload = make([]byte, size+1)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	if f.payload[size] != frameEnd {
		return f, errFrame
	}
	f.payload = f.payload[:size]
	return f, nil
}

func appendFrame(dst []byte, kind byte, channel uint16, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, kind), channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(payload))) //nolint:gosec // far below
	return append(append(dst, payload...), frameEnd)
}

// A method is named by its class and its number in it.
type method uint32

func named(class, number uint32) method { return method(class<<16 | number) }

// arguments reads those of a method, one after the other. What is missing is read as nothing.
type arguments struct{ left []byte }

func (a *arguments) take(n int) []byte {
	if n > len(a.left) {
		a.left = nil
		return make([]byte, n)
	}
	taken := a.left[:n]
	a.left = a.left[n:]
	return taken
}

func (a *arguments) octet() byte    { return a.take(1)[0] }
func (a *arguments) short() uint16  { return binary.BigEndian.Uint16(a.take(2)) }
func (a *arguments) long() uint32   { return binary.BigEndian.Uint32(a.take(4)) }
func (a *arguments) longer() uint64 { return binary.BigEndian.Uint64(a.take(8)) }
func (a *arguments) text() string   { return string(a.take(int(a.octet()))) }
func (a *arguments) longText() []byte {
	n := a.long()
	return a.take(int(min(n, frameMax)))
}
func (a *arguments) table() table { return readTable(a.longText()) }

// bits are up to eight of them, the first one lowest.
func (a *arguments) bits() bits { return bits(a.octet()) }

type bits byte

func (b bits) at(i int) bool { return b>>i&1 == 1 }

// A call is a method as it is sent: number, and arguments behind it.
type call []byte

func newCall(m method) call { return binary.BigEndian.AppendUint32(nil, uint32(m)) }

func (c call) octet(b byte) call      { return append(c, b) }
func (c call) short(n uint16) call    { return binary.BigEndian.AppendUint16(c, n) }
func (c call) long(n int) call        { return binary.BigEndian.AppendUint32(c, uint32(n)) } //nolint:gosec // it fits
func (c call) longer(n uint64) call   { return binary.BigEndian.AppendUint64(c, n) }
func (c call) text(s string) call     { return appendText(c, s) }
func (c call) longText(s []byte) call { return append(c.long(len(s)), s...) }

func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), 255)]
	return append(append(dst, byte(len(s))), s...) //nolint:gosec // it fits
}

// A table is one of AMQP, in its order. Values are as they are on the wire, each behind the letter of its type.
type table []field

type field struct {
	name  string
	value []byte
}

func readTable(raw []byte) (t table) {
	for a := (arguments{raw}); len(a.left) > 0; {
		name := a.text()
		rest := a.left
		a.skip()
		t = append(t, field{name, rest[:len(rest)-len(a.left)]})
	}
	return t
}

// skip reads over a value.
func (a *arguments) skip() {
	switch a.octet() {
	case 't', 'b', 'B':
		a.take(1)
	case 's', 'u', 'U':
		a.take(2)
	case 'I', 'i', 'f':
		a.take(4)
	case 'D':
		a.take(5)
	case 'l', 'L', 'd', 'T':
		a.take(8)
	case 'S', 'A', 'F', 'x':
		a.longText()
	}
}

func (t table) bytes() (raw []byte) {
	for _, f := range t {
		raw = append(appendText(raw, f.name), f.value...)
	}
	return raw
}

func (t table) raw(name string) []byte {
	for _, f := range t {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// text is a value that is a text, or "".
func (t table) text(name string) string {
	if v := t.raw(name); len(v) > 0 && v[0] == 'S' {
		return string((&arguments{v[1:]}).longText())
	}
	return ""
}

// number is a value that is a whole number.
func (t table) number(name string) (n int64, there bool) {
	v := t.raw(name)
	if len(v) == 0 {
		return 0, false
	}
	a := arguments{v[1:]}
	switch v[0] {
	case 'b':
		return int64(int8(a.octet())), true //nolint:gosec // as it is written
	case 's':
		return int64(int16(a.short())), true //nolint:gosec // likewise
	case 'I':
		return int64(int32(a.long())), true //nolint:gosec // likewise
	case 'l':
		return int64(a.longer()), true //nolint:gosec // likewise
	}
	return 0, false
}

// with is the table with a value.
func (t table) with(name string, value []byte) table {
	t = slices.Clone(t)
	i := slices.IndexFunc(t, func(f field) bool { return f.name == name })
	if i < 0 {
		return append(t, field{name, value})
	}
	t[i].value = value
	return t
}

// alike tells whether arguments of two declarations are the same to RabbitMQ.
func (t table) alike(other table, name string) bool {
	n, there := t.number(name)
	m, also := other.number(name)
	return there && also && n == m || bytes.Equal(t.raw(name), other.raw(name))
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64([]byte{'l'}, uint64(n)) } //nolint:gosec // as it is written
func text(s string) []byte  { return call{'S'}.longText([]byte(s)) }
func truth(b bool) []byte {
	if b {
		return []byte{'t', 1}
	}
	return []byte{'t', 0}
}
func tableValue(t table) []byte { return call{'F'}.longText(t.bytes()) }
func list(values ...[]byte) []byte {
	return call{'A'}.longText(bytes.Join(values, nil))
}

// properties are those of a message, as they are on the wire; nil: it does not have it.
type properties [14][]byte

// Those that matter here, by their place.
const (
	headersAt     = 2
	correlationAt = 5
	expirationAt  = 7
)

// kinds are the types of the properties: a text, a table, an octet, or eight octets.
const kinds = "sstoossss8ssss"

func readProperties(payload []byte) (p properties, size uint64) {
	a := arguments{payload}
	a.long() // class and weight
	size = a.longer()
	flags := a.short()
	for i, kind := range kinds {
		if flags>>(15-i)&1 == 0 {
			continue
		}
		rest := a.left
		switch kind {
		case 's':
			a.text()
		case 't':
			a.longText()
		case 'o':
			a.octet()
		case '8':
			a.longer()
		}
		p[i] = rest[:len(rest)-len(a.left)]
	}
	return p, size
}

func (p *properties) header(size int) []byte {
	var flags uint16
	var values []byte
	for i, v := range p {
		if v != nil {
			flags |= 1 << (15 - i)
			values = append(values, v...)
		}
	}
	head := call{0, basic, 0, 0}.longer(uint64(size)).short(flags) //nolint:gosec // it fits
	return append(head, values...)
}

func (p *properties) headers() table {
	a := arguments{p[headersAt]}
	if p[headersAt] == nil {
		return nil
	}
	return a.table()
}

// text is a property that is a text, or "".
func (p *properties) text(at int) string {
	if p[at] == nil {
		return ""
	}
	return string(p[at][1:])
}

func (p *properties) setHeaders(t table) { p[headersAt] = call{}.longText(t.bytes()) }
