package redisconn_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/settings/connection"
)

// TestPace: a server that answers and drops everybody again is soon asked again, and one that nobody reaches within two seconds.
// Neither is at once, or ever more slowly.
func TestPace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lives       time.Duration // < 0: nobody reaches it
		rounds      int
		least, most time.Duration // all attempts together; any other length is as good as impossible
	}{
		"it drops who has asked it": {0, 100, 25 * time.Second, 55 * time.Second},
		"it lives for a second":     {time.Second, 100, 125 * time.Second, 155 * time.Second},
		"it lives for longer":       {3 * time.Second, 100, 299 * time.Second, 306 * time.Second},
		"nobody reaches it":         {-1, 100, 70 * time.Second, 130 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, attempts := time.Now(), 0
				tried := make(chan time.Duration, 1)
				dial := func(context.Context, string, string) (net.Conn, error) {
					if attempts++; attempts == c.rounds {
						tried <- time.Since(began)
					}
					if c.lives < 0 {
						return nil, errors.New("refused")
					}
					ours, theirs := net.Pipe()
					go answer(theirs, c.lives)
					return ours, nil
				}
				p := open(t, "redis://localhost", redisconn.Options{Options: connection.Options{Dial: dial}}, redisconn.PipelineOptions{})
				defer p.Close()
				for {
					select {
					case took := <-tried:
						if took < c.least || took > c.most {
							t.Errorf("%d attempts took %v", c.rounds, took)
						}
						return
					default:
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						_, _ = p.Do(ctx, "PING")
						cancel()
						time.Sleep(10 * time.Millisecond)
					}
				}
			})
		})
	}
}

// answer is a server that says OK to each command, until some time after the first.
func answer(conn net.Conn, lives time.Duration) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "*") {
			time.AfterFunc(lives+time.Millisecond, func() { conn.Close() })
		} else if !strings.HasPrefix(line, "$") {
			if _, err := conn.Write([]byte("+OK\r\n")); err != nil {
				return
			}
		}
	}
}
