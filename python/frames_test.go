package python

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
)

// through passes a frame through a socket.
func through(t *testing.T, f *frame) (frame, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	wrote := make(chan error, 1)
	go func() {
		err := f.write(theirs)
		wrote <- errors.Join(err, theirs.Close())
	}()
	r := bufio.NewReader(ours)
	got, err := readFrame(r)
	if rest, _ := io.Copy(io.Discard, r); rest != 0 {
		t.Errorf("%d bytes are left", rest)
	}
	return got, errors.Join(err, <-wrote, ours.Close())
}

func TestFrame(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]frame{
		"empty": {},
		"head":  {job: 1, head: []byte(`{"up": 12}`)},
		"large": {job: 1<<64 - 1, head: []byte(`{}`), body: bytes.Repeat([]byte{0, 0xff}, 3<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := through(t, &want)
			if err != nil || got.job != want.job || !bytes.Equal(got.head, want.head) || !bytes.Equal(got.body, want.body) {
				t.Errorf("job %d, %d and %d bytes, %v", got.job, len(got.head), len(got.body), err)
			}
		})
	}
}

func TestMessageFrame(t *testing.T) {
	t.Parallel()
	var r protocol.Received
	r.Set(&protocol.Message{
		Headers: []byte(`{"task": "a.b", "id": "1"}`), ContentType: "application/json", ContentEncoding: "utf-8", Body: []byte("[]"),
	}, &protocol.Info{RoutingKey: "celery", Redelivered: true})
	f, err := messageFrame(7, &r, false)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"headers": {"task": "a.b", "id": "1"}, "properties": {"delivery_mode": 0, "priority": 0}, "content_type": "application/json", ` +
		`"content_encoding": "utf-8", "exchange": "", "routing_key": "celery", "redelivered": true}`
	if string(f.head) != want || string(f.body) != "[]" || f.job != 7 {
		t.Errorf("head = %s\nbody = %s", f.head, f.body)
	}
}

// What a child sends never makes the worker fail, nor reserve more memory than was sent.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{})
	f.Add(binary.BigEndian.AppendUint32(nil, maxFrame))
	f.Add(append(binary.BigEndian.AppendUint32(nil, 14), make([]byte, 14)...))
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, err := readFrame(bufio.NewReader(bytes.NewReader(sent)))
		if err == nil && frameStart+len(got.head)+len(got.body) > len(sent) {
			t.Errorf("%d bytes came out of %d", frameStart+len(got.head)+len(got.body), len(sent))
		}
	})
}
