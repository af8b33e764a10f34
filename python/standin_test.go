//go:build unix

package python

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// standinPair is a stand-in, and the other end of its socket.
func standinPair(t *testing.T) (s *standin, peer *net.UnixConn, stopped chan string) {
	t.Helper()
	ours, theirs, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := unixConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	if peer, err = unixConn(theirs); err != nil {
		t.Fatal(err)
	}
	stopped = make(chan string, 1)
	s = newStandin(conn, func(cold bool, status int) { stopped <- fmt.Sprint(cold, status) })
	s.kill = func() { _ = conn.Close() }
	s.serve(bufio.NewReader(conn))
	t.Cleanup(func() {
		_ = peer.Close()
		<-s.gone
	})
	return s, peer, stopped
}

// answers answers each request with what is given.
func answers(t *testing.T, peer *net.UnixConn, with string) {
	t.Helper()
	go func() {
		lines := bufio.NewScanner(peer)
		for lines.Scan() {
			var asked struct{ Ask uint64 }
			if json.Unmarshal(lines.Bytes(), &asked) != nil {
				return
			}
			fmt.Fprintf(peer, `{"ask": %d, %s}`+"\n", asked.Ask, with)
		}
	}()
}

func TestStandinAnswers(t *testing.T) {
	t.Parallel()
	s, peer, stopped := standinPair(t)
	answers(t, peer, `"value": "{\"x\": NaN}"`)
	if value, err := s.ask(t.Context(), "command", map[string]any{"name": "look"}, hangs); err != nil || string(value) != `{"x": NaN}` {
		t.Errorf("answer: %s, %v", value, err)
	}
	fmt.Fprintln(peer, `{"stop": "cold", "status": 3}`)
	if got := <-stopped; got != "true 3" {
		t.Errorf("stopped with %s", got)
	}
}

func TestStandinRaises(t *testing.T) {
	t.Parallel()
	s, peer, _ := standinPair(t)
	answers(t, peer, `"error": "ValueError('no')"`)
	if _, err := s.ask(t.Context(), "start", nil, hangs); err == nil || err.Error() != "ValueError('no')" {
		t.Errorf("error %v", err)
	}
}

// A stand-in that hangs is ended, and until then nobody waits for it longer than he wants to.
func TestStandinHangs(t *testing.T) {
	t.Parallel()
	s, _, _ := standinPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.ask(ctx, "ready", nil, 50*time.Millisecond); !errors.Is(err, errNoAnswer) {
		t.Errorf("error %v", err)
	}
	<-s.gone
	if _, err := s.ask(t.Context(), "ready", nil, hangs); !errors.Is(err, errNoStandin) {
		t.Errorf("error of one that has ended: %v", err)
	}
}

// News never wait for a stand-in.
func TestStandinDoesNotKeepUp(t *testing.T) {
	t.Parallel()
	s, _, _ := standinPair(t)
	line := []byte(strings.Repeat(" ", 1<<16))
	for range newsKept + 100 {
		if !s.tell(line) {
			return
		}
	}
	t.Error("there was always room for more")
}
