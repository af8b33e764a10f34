package tasks_test

import (
	"context"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// FuzzCall sends any arguments to functions of many shapes. No argument may make a
// call panic, and every failure must be one that Python knows.
func FuzzCall(f *testing.F) {
	for _, c := range loadCalls(f) {
		f.Add(string(c.Args), string(c.Kwargs))
	}
	f.Add(`[{"__type__": "datetime", "__value__": "2026-11-23T07:05:15+00:00"}]`, `{"x": {"__type__": "bytes", "__value__": "a"}}`)
	f.Add(`[NaN, -Infinity, 1e999, 123456789012345678901234567890]`, `{"x": "\ud800", "y": {"a": {"b": [[]]}}}`)
	f.Add(`null`, ``)
	entries := []*tasks.Entry{
		register("f", func(x, y int) int { return x + y }, tasks.Params("x, y")),
		register("f", func(x, y any, rest ...any) any { return x }, tasks.Params("x, /, y=None, *rest")),
		register("f", func(x *string, rest []float64, y map[string]any, kw map[string]json.RawMessage) {}, tasks.Params("x=None, *rest, y={}, **kw")),
		register("f", func(x time.Time, y big.Int, z []byte) {}, tasks.Params("x, y, *, z=''")),
		register("f", func(x pyjson.Decimal, y pyjson.UUID, z pyjson.Date) {}),
		register("f", func(context.Context, ...even) {}),
		register("f", func(o *order) int64 { return o.ID }),
		register("f", func(x map[string][]line, y [2]uint8, z time.Duration) {}, tasks.Params("x, y, z=1.5")),
		register("f", &adder{}, tasks.Params("a, b=1, *args, **kwargs")),
		register("f", &adder{}),
	}
	f.Fuzz(func(t *testing.T, args, kwargs string) {
		for i, entry := range entries {
			_, err := entry.Call(context.Background(), request(args, kwargs))
			if err == nil {
				continue
			}
			exc := tasks.ExceptionOf(err)
			if exc.Type == "RuntimeError" {
				t.Fatalf("function %d: %s", i, exc.Traceback)
			}
			if err := pyjson.Valid(exc.Message); err != nil {
				t.Fatalf("function %d: exception arguments %q: %v", i, exc.Message, err)
			}
			valid := pyjson.Valid([]byte(args)) == nil && pyjson.Valid([]byte(kwargs)) == nil
			if valid && exc.Type == "Exception" && !strings.Contains(err.Error(), "__type__") {
				t.Fatalf("function %d: %v is no exception of Python's", i, err)
			}
		}
	})
}
