package rabbitconn

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
)

// A connection that is lost while a worker logs in is lost like any other: no setting is wrong.
func TestConnectionsAreLostWhileLoggingIn(t *testing.T) {
	t.Parallel()
	const start, tune = "\x00\x0a\x00\x0a\x00\x09" + "\x00\x00\x00\x00" + "\x00\x00\x00\x05PLAIN" + "\x00\x00\x00\x05en_US",
		"\x00\x0a\x00\x1e" + "\x00\x00" + "\x00\x01\x00\x00" + "\x00\x00"
	for name, says := range map[string][]string{
		"before it has said anything": nil, "after the password": {start}, "after the virtual host": {start, tune},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serveOnce(t, says)
			cfg, err := Parse("amqp://u:p@"+addr+"//", Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = cfg.Dial(t.Context())
			if err == nil || IsConfig(err) || !strings.Contains(err.Error(), "the server closed the connection") {
				t.Errorf("%v; a fault of the settings: %v", err, IsConfig(err))
			}
		})
	}
}

// serveOnce says some methods on the first connection, each when the client has answered the one before, and ends it then.
func serveOnce(t *testing.T, says []string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		_, _ = r.Discard(len("AMQP\x00\x00\x09\x01")) // what fails ends the connection, too
		for i, method := range says {
			_, _ = io.WriteString(conn, strings.Replace(frame(1, method), "\x00\x01", "\x00\x00", 1)) // on channel 0
			for range i + 1 {                                                                         // start-ok; tune-ok and open
				head, _ := r.Peek(7)
				if len(head) < 7 {
					return
				}
				_, _ = r.Discard(7 + int(binary.BigEndian.Uint32(head[3:])) + 1)
			}
		}
	}()
	return l.Addr().String()
}
