package embedded_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/embedded"
)

func TestServerSpeaksRedisAndKeysExpire(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := redis.DialURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Do("SETEX", "key", 1, "value"); err != nil {
		t.Fatal(err)
	}
	if got, err := redis.String(conn.Do("GET", "key")); err != nil || got != "value" {
		t.Fatalf("GET key = %q, %v", got, err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		exists, err := redis.Bool(conn.Do("EXISTS", "key"))
		if err != nil {
			t.Fatal(err)
		}
		if !exists {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a key with a TTL of 1 s is still there after a minute")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStartSaysWhichPortIsTaken(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(0)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	if second, err := embedded.Start(port); err == nil {
		second.Close()
		t.Fatal("a second server on the same port started")
	} else if want := "127.0.0.1:" + u.Port(); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not name %s", err, want)
	}
}
