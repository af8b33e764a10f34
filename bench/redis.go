package main

import (
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/gomodule/redigo/redis"
)

// server is a private Redis, with nothing written to disk.
type server struct {
	addr string
	cmd  *exec.Cmd
	conn redis.Conn
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port, l.Close()
}

func startRedis() (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	addr := "127.0.0.1:" + port
	// A client of Celery's is told of every result. By default Redis drops one that is 32 MB behind, and it would wait for ever.
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--client-output-buffer-limit", "pubsub", "0", "0", "0")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		conn, err := redis.Dial("tcp", addr)
		if err == nil {
			return &server{addr: addr, cmd: cmd, conn: conn}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	return nil, fmt.Errorf("redis-server does not answer at %s", addr)
}

func (s *server) stop() {
	_ = s.conn.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// all tells whether each key satisfies a command that answers 0 or 1 for it.
func (s *server) all(keys []string, ok func(conn redis.Conn, keys []string) (int, error)) (bool, error) {
	const chunk = 1000
	for from := 0; from < len(keys); from += chunk {
		part := keys[from:min(from+chunk, len(keys))]
		n, err := ok(s.conn, part)
		if err != nil || n < len(part) {
			return false, err
		}
	}
	return true, nil
}

// exist counts the keys there are.
func exist(conn redis.Conn, keys []string) (int, error) {
	return redis.Int(conn.Do("EXISTS", redis.Args{}.AddFlat(keys)...))
}
