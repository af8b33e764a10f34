package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

const limitName = "the Redis limit"

// recorder stands between a worker and its Redis and keeps what the worker writes.
type recorder struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	writes []write
	conns  int
}

// write is what one read of the worker's side of a connection brought: under load,
// one write of the worker.
type write struct {
	conn int
	data []byte
}

func record(target string) (*recorder, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &recorder{listener: l, target: target}
	go r.accept()
	return r, nil
}

func (r *recorder) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		upstream, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		r.mu.Lock()
		id := r.conns
		r.conns++
		r.mu.Unlock()
		go func() { _, _ = io.Copy(client, upstream); _ = client.Close() }()
		go r.forward(id, client, upstream)
	}
}

func (r *recorder) forward(id int, client, upstream net.Conn) {
	defer func() { _ = upstream.Close() }()
	buf := make([]byte, 4<<20)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			r.mu.Lock()
			r.writes = append(r.writes, write{id, append([]byte(nil), buf[:n]...)})
			r.mu.Unlock()
			if _, err := upstream.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *recorder) taken() []write {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]write(nil), r.writes...)
}

// replay lets Apium work off the queue once and then sends the very same bytes,
// connection by connection in the order of time, to a Redis with the same queue,
// never waiting for an answer: what Redis can do at best for this worker.
func replay(s *server, c contender, results []string) (float64, error) {
	messages, err := redis.Values(s.conn.Do("LRANGE", c.queue, 0, -1))
	if err != nil {
		return 0, err
	}
	r, err := record(s.addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.listener.Close() }()
	cmd, _ := command(s, c.work(&server{addr: r.listener.Addr().String()})...)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = workOff(s, c, len(results), results, new(usage))
	stop(cmd)
	if err != nil {
		return 0, err
	}
	writes := r.taken()

	if _, err := s.conn.Do("FLUSHALL"); err != nil {
		return 0, err
	}
	for _, m := range messages {
		if err := s.conn.Send("RPUSH", c.queue, m); err != nil {
			return 0, err
		}
	}
	if _, err := s.conn.Do(""); err != nil {
		return 0, err
	}
	conns := map[int]net.Conn{}
	for _, w := range writes {
		if conns[w.conn] == nil {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				return 0, err
			}
			defer func() { _ = conn.Close() }()
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			conns[w.conn] = conn
		}
	}
	begun := time.Now()
	for _, w := range writes {
		if _, err := conns[w.conn].Write(w.data); err != nil {
			return 0, err
		}
	}
	for {
		complete, err := s.all(results, exist)
		if err != nil || complete {
			return float64(len(results)) / time.Since(begun).Seconds(), err
		}
		if time.Since(begun) > time.Minute {
			return 0, errors.New("the replay left tasks without a result")
		}
		time.Sleep(time.Millisecond)
	}
}
