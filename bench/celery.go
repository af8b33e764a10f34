package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// template is a message as Celery published it, to be sent again under other ids.
type template struct{ text, id, tag string }

// capture lets the real Celery publish both tasks once and takes the messages off
// the queue.
func capture(s *server) (add, now template, err error) {
	cmd, out := command(s, *python+"/python", "bench_app.py")
	if err := cmd.Run(); err != nil {
		return add, now, fmt.Errorf("the producer of Celery: %w\n%s", err, out)
	}
	raw, err := redis.Strings(s.conn.Do("LRANGE", "celery", 0, -1))
	if err != nil {
		return add, now, err
	}
	if len(raw) != 2 {
		return add, now, fmt.Errorf("the producer of Celery left %d messages, want 2", len(raw))
	}
	if _, err := s.conn.Do("DEL", "celery"); err != nil {
		return add, now, err
	}
	if add, err = parse(raw[1]); err != nil {
		return add, now, err
	}
	now, err = parse(raw[0])
	return add, now, err
}

func parse(raw string) (template, error) {
	var m struct {
		Headers    struct{ ID string }
		Properties struct {
			Tag string `json:"delivery_tag"`
		}
		Body string
	}
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		return template{}, err
	}
	if _, err := base64.StdEncoding.DecodeString(m.Body); err != nil || m.Headers.ID == "" || m.Properties.Tag == "" {
		return template{}, fmt.Errorf("not a message of Celery: %.200s", raw)
	}
	return template{raw, m.Headers.ID, m.Properties.Tag}, nil
}

// message returns the bytes under a new id.
func (t template) message() (text, id string) {
	id = uuid()
	return strings.NewReplacer(t.id, id, t.tag, uuid()).Replace(t.text), id
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func fillCelery(s *server, n int) ([]string, error) {
	add, _, err := capture(s)
	if err != nil {
		return nil, err
	}
	results := make([]string, n)
	for i := range n {
		text, id := add.message()
		results[i] = "celery-task-meta-" + id
		if err := s.conn.Send("LPUSH", "celery", text); err != nil {
			return nil, err
		}
		if i%1000 == 999 || i == n-1 {
			if _, err := s.conn.Do(""); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}
