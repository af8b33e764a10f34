package rabbitconn

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// wire is a connection whose both ends are here: what was written, and what is to be read.
type wire struct {
	net.Conn
	out bytes.Buffer
	in  io.Reader
}

func (w *wire) Write(p []byte) (int, error) { return w.out.Write(p) }
func (w *wire) Read(p []byte) (int, error)  { return w.in.Read(p) }

func frame(kind byte, payload string) string {
	head := []byte{kind, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[3:], uint32(len(payload)))
	return string(head) + payload + "\xce"
}

// header is the payload of a header frame.
func header(flags uint16, properties string) string {
	fixed := make([]byte, 14)
	fixed[1] = 60
	binary.BigEndian.PutUint16(fixed[12:], flags)
	return string(fixed) + properties
}

func longText(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

const textAndTable = hasContentType | hasHeaders

var (
	table    = longText("\x01aV")
	property = "\x04json" + table
)

// TestPriorityZeroAndNoHeadersAreSent writes messages in pieces of every size.
func TestPriorityZeroAndNoHeadersAreSent(t *testing.T) {
	t.Parallel()
	const mode, both = textAndTable | hasDeliveryMode, textAndTable | hasDeliveryMode | hasPriority
	method, body := frame(1, "publish"), frame(3, strings.Repeat("b", 300))
	greeted := "AMQP\x00\x00\x09\x01"
	written := greeted + method + frame(2, header(mode, property+"\x82\x05c-id")) + body +
		frame(2, header(mode, property+"\x02")) + frame(2, header(both, property+"\x81\x07")) + frame(2, header(textAndTable, property)) +
		frame(2, header(hasContentType|hasDeliveryMode, "\x04json\xc1\x05c-id")) + frame(2, header(mode, property+"\x42")) + frame(8, "")
	want := greeted + method + frame(2, header(both, property+"\x02\x00\x05c-id")) + body +
		frame(2, header(mode, property+"\x02")) + frame(2, header(both, property+"\x01\x07")) + frame(2, header(textAndTable, property)) +
		frame(2, header(both, "\x04json"+longText("")+"\x01\x00\x05c-id")) + frame(2, header(mode, property+"\x02")) + frame(8, "")
	for size := 1; size <= len(written); size++ {
		w := &wire{}
		f := newFramed(w)
		for rest := []byte(written); len(rest) > 0; {
			n := min(size, len(rest))
			if wrote, err := f.Write(rest[:n]); wrote != n || err != nil {
				t.Fatal(wrote, err)
			}
			rest = rest[n:]
		}
		if got := w.out.String(); got != want {
			t.Fatalf("in pieces of %d bytes it was\n%q, want\n%q", size, got, want)
		}
	}
}

// TestHeadersAreMended reads what the library would not understand, or would give up the connection for.
func TestHeadersAreMended(t *testing.T) {
	t.Parallel()
	deep := "\x01aV"
	for range deepest + 1 {
		deep = "\x01aF" + longText(deep)
	}
	for _, c := range []struct{ name, table, want string }{
		{"integers", "\x01aL\x00\x00\x00\x01\x00\x00\x00\x00\x01bU\x01\x02\x01cA" + longText("L12345678V"), "\x01al\x00\x00\x00\x01\x00\x00\x00\x00\x01bs\x01\x02\x01cA" + longText("l12345678V")},
		{"all others", "\x01at\x01\x01bI1234\x01cd12345678\x01eT12345678\x01gS\x00\x00\x00\x01L\x01hx\x00\x00\x00\x01U\x01iF" + longText("\x01jV"), ""},
		{"unknown letter", "\x01a?12345", "\x00x\x00\x00\x00\x0212"[:6] + "45"},
		{"too long a text", "\x01aS\x00\x00\x00\x09abc", "\x00x" + longText("\x09abc"[0:4])},
		{"too deep", deep, "\x00x" + longText(deep[6:])},
		{"too many", strings.Repeat("\x00V", longest+1), "\x00x" + longText(strings.Repeat("\x00V", longest+1)[6:])},
	} {
		if c.want == "" {
			c.want = c.table
		}
		sent := frame(1, "deliver") + frame(2, header(hasHeaders|hasDeliveryMode|hasPriority, longText(c.table)+"\x02\x00")) + frame(3, "L") + frame(2, header(hasDeliveryMode, "\x01"))
		want := frame(1, "deliver") + frame(2, header(hasHeaders|hasDeliveryMode|hasPriority, longText(c.want)+"\x82\x00")) + frame(3, "L") + frame(2, header(hasDeliveryMode, "\x01"))
		for name, in := range map[string]io.Reader{"at once": strings.NewReader(sent), "byte by byte": iotest.OneByteReader(strings.NewReader(sent))} {
			got, err := io.ReadAll(newFramed(&wire{in: in}))
			if err != nil || string(got) != want {
				t.Errorf("%s, %s: %v, got\n%q, want\n%q", c.name, name, err, got, want)
			}
		}
	}
}

// FuzzFramed sees that reading neither fails nor loses a byte, whatever comes.
func FuzzFramed(f *testing.F) {
	f.Add([]byte(frame(2, header(hasHeaders|hasDeliveryMode|hasPriority, table+"\x02\x00"))))
	f.Add([]byte(frame(2, header(hasContentType|hasContentEncoding|hasHeaders, "\xff\xff"))))
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, err := io.ReadAll(newFramed(&wire{in: bytes.NewReader(sent)}))
		if err == nil && len(got) != len(sent) {
			t.Errorf("%d bytes of %d", len(got), len(sent))
		}
		w := &wire{}
		if n, err := newFramed(w).Write(sent); n != len(sent) || err != nil {
			t.Error(n, err)
		}
	})
}
