package pyjson_test

import (
	"encoding/json"
	"testing"

	"github.com/apium/apium/protocol/pyjson"
)

// celeryMessage is what Celery 5.7 puts into Redis for add.delay(2, 3).
const celeryMessage = `{"body": "W1syLCAzXSwge30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVsbH1d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "tapp.add", "id": "59849336-b0a7-3669-9a84-4574b28be4c6", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "59849336-b0a7-3669-9a84-4574b28be4c6", "parent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{}", "origin": "gen21784@vm", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, "properties": {"correlation_id": "59849336-b0a7-3669-9a84-4574b28be4c6", "reply_to": "59849336-b0a7-3669-9a84-4574b28be4c6", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "0df4e47b-5dd5-4313-8db7-9520fef06b51"}}`

// scanMessage reads the body and two headers, as a worker does.
func scanMessage(message []byte) (body, id []byte, err error) {
	s := pyjson.NewScanner(message)
	if s.Enter('{') {
		for s.Next() {
			switch string(s.Key()) {
			case "body":
				body, _ = s.Text()
			case "headers":
				if s.Enter('{') {
					for s.Next() {
						if string(s.Key()) == "id" {
							id, _ = s.Text()
						}
					}
				}
			}
		}
	}
	return body, id, s.End()
}

func BenchmarkScanMessage(b *testing.B) {
	message := []byte(celeryMessage)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if body, id, err := scanMessage(message); len(body) == 0 || len(id) == 0 || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	message := []byte(celeryMessage)
	b.Run("pyjson", func(b *testing.B) {
		b.SetBytes(int64(len(message)))
		b.ReportAllocs()
		for b.Loop() {
			if pyjson.Valid(message) != nil {
				b.Fatal("invalid")
			}
		}
	})
	b.Run("encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(message)))
		b.ReportAllocs()
		for b.Loop() {
			if !json.Valid(message) {
				b.Fatal("invalid")
			}
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	for name, c := range map[string]struct {
		raw string
		dst any
	}{
		"int":     {"12345", new(int)},
		"float":   {"0.125", new(float64)},
		"string":  {`"a background task"`, new(string)},
		"ints":    {"[1, 2, 3, 4, 5, 6, 7, 8]", new([]int)},
		"struct":  {`{"value": 1, "next": {"value": 2, "next": null}}`, new(node)},
		"any":     {`{"a": [1, 2.5, "x", null], "b": {"c": true}}`, new(any)},
		"message": {celeryMessage, new(map[string]json.RawMessage)},
	} {
		raw := []byte(c.raw)
		b.Run(name+"/pyjson", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := pyjson.Unmarshal(raw, c.dst); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/encoding_json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := json.Unmarshal(raw, c.dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, v := range map[string]any{
		"int":    12345,
		"float":  0.125,
		"string": "a background task",
		"ints":   []int{1, 2, 3, 4, 5, 6, 7, 8},
		"struct": &node{1, &node{2, nil}},
		"any":    map[string]any{"a": []any{1, 2.5, "x", nil}, "b": map[string]any{"c": true}},
	} {
		buf := make([]byte, 0, 256)
		b.Run(name+"/pyjson", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pyjson.Append(buf, v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/encoding_json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := json.Marshal(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
