package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// metaPrefix is what the keys of Celery's results begin with.
const metaPrefix = "celery-task-meta-"

// template is a message as Celery published it, to be sent again under other ids.
type template struct{ text, id, tag string }

// capture lets the real Celery publish one message, by a call such as "add.delay(1, 2)" of the app's tasks, and takes it
// off the queue.
func capture(s *server, call string) (template, error) {
	cmd, out := command(s, *python+"/python", "-c", "from bench_app import *\n"+call)
	if err := cmd.Run(); err != nil {
		return template{}, fmt.Errorf("the producer of Celery: %w\n%s", err, out)
	}
	raw, err := redis.Strings(s.conn.Do("LRANGE", "celery", 0, -1))
	if err != nil {
		return template{}, err
	}
	if len(raw) != 1 {
		return template{}, fmt.Errorf("the producer of Celery left %d messages, want 1", len(raw))
	}
	if _, err := s.conn.Do("DEL", "celery"); err != nil {
		return template{}, err
	}
	return parse(raw[0])
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
	add, err := capture(s, "add.delay(1, 2)")
	if err != nil {
		return nil, err
	}
	return add.fill(s, n, "celery")
}

// fill puts n messages on lists, on each in turn, and returns the keys of their results.
func (t template) fill(s *server, n int, lists ...string) ([]string, error) {
	results := make([]string, n)
	for i := range n {
		text, id := t.message()
		results[i] = metaPrefix + id
		if err := s.conn.Send("LPUSH", lists[i%len(lists)], text); err != nil {
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

// returned reads what tasks have returned.
func returned[T any](s *server, results []string) ([]T, error) {
	all := make([]T, 0, len(results))
	for part := range slices.Chunk(results, 1000) {
		records, err := redis.ByteSlices(s.conn.Do("MGET", redis.Args{}.AddFlat(part)...))
		if err != nil {
			return nil, err
		}
		for _, record := range records {
			var meta struct{ Result T }
			if err := json.Unmarshal(record, &meta); err != nil {
				return nil, fmt.Errorf("%w: %s", err, record)
			}
			all = append(all, meta.Result)
		}
	}
	return all, nil
}
