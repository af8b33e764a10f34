package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// even reads itself from JSON and refuses odd numbers.
type even int

func (e *even) UnmarshalJSON(raw []byte) error {
	var n int
	if err := json.Unmarshal(raw, &n); err != nil {
		return err
	}
	if n%2 != 0 {
		return errors.New("odd")
	}
	*e = even(n)
	return nil
}

type line struct {
	SKU   string `json:"sku"`
	Count int    `json:"count"`
}

const someUUID = `{"__type__": "uuid", "__value__": {"hex": "5b0b1a0e6b1e4d0e8f7e0d6c7e0e7c11"}}`

func TestValues(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 23, 7, 5, 15, 0, time.UTC)
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	three := 3
	tests := []struct {
		fn    any
		value string
		want  any
	}{
		{func(v int) any { return v }, `-7`, -7},
		{func(v int8) any { return v }, `127`, int8(127)},
		{func(v uint64) any { return v }, `18446744073709551615`, uint64(1<<64 - 1)},
		{func(v float64) any { return v }, `2`, 2.0},
		{func(v float32) any { return v }, `0.5`, float32(0.5)},
		{func(v string) any { return v }, `"caf\u00e9 \u4e2d"`, "café 中"},
		{func(v bool) any { return v }, `true`, true},
		{func(v []byte) any { return v }, `{"__type__": "bytes", "__value__": "raw"}`, []byte("raw")},
		{func(v []byte) any { return v }, `{"__type__": "base64", "__value__": "/w=="}`, []byte{0xff}},
		{func(v []int) any { return v }, `[1, 2]`, []int{1, 2}},
		{func(v [2]int) any { return v }, `[1, 2]`, [2]int{1, 2}},
		{func(v map[string]int) any { return v }, `{"a": 1}`, map[string]int{"a": 1}},
		{func(v map[int]string) any { return v }, `{"1": "a", "-2": "b"}`, map[int]string{1: "a", -2: "b"}},
		{func(v map[uint8]any) any { return v }, `{"255": null}`, map[uint8]any{255: nil}},
		{func(v string) any { return v }, someUUID, "5b0b1a0e-6b1e-4d0e-8f7e-0d6c7e0e7c11"},
		{func(v []*line) any { return v[0].SKU }, `[{"sku": ` + someUUID + `}]`, "5b0b1a0e-6b1e-4d0e-8f7e-0d6c7e0e7c11"},
		{func(v pyjson.UUID) any { return v.String() }, `"5b0b1a0e6b1e4d0e8f7e0d6c7e0e7c11"`, "5b0b1a0e-6b1e-4d0e-8f7e-0d6c7e0e7c11"},
		{func(v pyjson.Decimal) any { return v }, `"1.10"`, pyjson.Decimal("1.10")},
		{func(v pyjson.Date) any { return v.String() }, `"2026-01-02"`, "2026-01-02"},
		{func(v *int) any { return v }, `null`, (*int)(nil)},
		{func(v *int) any { return v }, `3`, &three},
		{func(v []line) any { return v }, `[{"sku": "x", "count": 2}]`, []line{{"x", 2}}},
		{func(v time.Time) any { return v.UTC() }, `{"__type__": "datetime", "__value__": "2026-11-23T07:05:15+00:00"}`, day},
		{func(v time.Time) any { return v.UTC() }, `"2026-11-23T07:05:15Z"`, day},
		{func(v pyjson.Decimal) any { return v }, `{"__type__": "decimal", "__value__": "1.10"}`, pyjson.Decimal("1.10")},
		{func(v json.RawMessage) any { return string(v) }, `{"a":  NaN}`, `{"a":  NaN}`},
		{func(v *big.Int) any { return v.String() }, huge.String(), huge.String()},
		{func(v big.Int) any { return v.String() }, huge.String(), huge.String()},
		{func(v even) any { return v }, `4`, even(4)},
		{func(v *even) any { return *v }, `4`, even(4)},
		{func(v any) any { return v }, `{"a": [1, 2.0, null, "x"]}`, map[string]any{"a": []any{int64(1), 2.0, nil, "x"}}},
		{func(v any) any { return v }, `null`, nil},
	}
	for _, test := range tests {
		entry := register("shop.use", test.fn, tasks.Params("v"))
		got, err := entry.Call(context.Background(), request("["+test.value+"]", "{}"))
		if err != nil {
			t.Errorf("%T with %s: %v", test.fn, test.value, err)
		} else if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%T with %s (-want +got):\n%s", test.fn, test.value, diff)
		}
	}
}

func TestValuesThatDoNotFit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fn    any
		value string
		want  string
	}{
		{func(int) {}, `"1"`, "TypeError: use() argument 'v' must be int, not str"},
		{func(int) {}, `1.0`, "TypeError: use() argument 'v' must be int, not float"},
		{func(int) {}, `null`, "TypeError: use() argument 'v' must be int, not NoneType"},
		{func(uint8) {}, `[]`, "TypeError: use() argument 'v' must be int, not list"},
		{func(float64) {}, `"x"`, "TypeError: use() argument 'v' must be float, not str"},
		{func(string) {}, `5`, "TypeError: use() argument 'v' must be str, not int"},
		{func(string) {}, `null`, "TypeError: use() argument 'v' must be str, not NoneType"},
		{func(string) {}, `{"__type__": "decimal", "__value__": "1.10"}`, "TypeError: use() argument 'v' must be str, not Decimal"},
		{func(string) {}, `{"__type__": "date", "__value__": "2026-01-02"}`, "TypeError: use() argument 'v' must be str, not date"},
		{func(string) {}, `{"__type__": "bytes", "__value__": "x"}`, "TypeError: use() argument 'v' must be str, not bytes"},
		{func(map[int]string) {}, `{"1": "a", "x": "b"}`, `ValueError: use() argument 'v': key "x": `},
		{func(map[int8]string) {}, `{"300": "a"}`, `ValueError: use() argument 'v': key "300": `},
		{func(map[int]string) {}, `{"1": 2}`, "TypeError: use() argument 'v': 1 must be str, not int"},
		{func(bool) {}, `1`, "TypeError: use() argument 'v' must be bool, not int"},
		{func([]int) {}, `{}`, "TypeError: use() argument 'v' must be list, not dict"},
		{func([]int) {}, `[1, "2"]`, "TypeError: use() argument 'v': [1] must be int, not str"},
		{func([]line) {}, `[{"count": "2"}]`, "TypeError: use() argument 'v': [0].count must be int, not str"},
		{func(map[string]int) {}, `[]`, "TypeError: use() argument 'v' must be dict, not list"},
		{func(line) {}, `3`, "TypeError: use() argument 'v' must be dict, not int"},
		{func(time.Time) {}, `3`, "TypeError: use() argument 'v' must be datetime, not int"},
		{func([]byte) {}, `3`, "TypeError: use() argument 'v' must be bytes, not int"},
		{func(big.Int) {}, `"x"`, "TypeError: use() argument 'v' must be int, not str"},
		{func(*int) {}, `"x"`, "TypeError: use() argument 'v' must be int, not str"},
		{func(int) {}, `{"__type__": "datetime", "__value__": "2026-11-23T07:05:15"}`, "TypeError: use() argument 'v' must be int, not datetime"},
		{func(int8) {}, `300`, "OverflowError: use() argument 'v': 300 is out of range"},
		{func(uint) {}, `-1`, "OverflowError: use() argument 'v': -1 is out of range"},
		{func([]uint8) {}, `[256]`, "OverflowError: use() argument 'v': [0]: 256 is out of range"},
		{func(even) {}, `3`, "ValueError: use() argument 'v': odd"},
		{func(time.Time) {}, `"soon"`, "ValueError: use() argument 'v': "},
	}
	for _, test := range tests {
		entry := register("shop.use", test.fn, tasks.Params("v"))
		_, err := entry.Call(context.Background(), request("["+test.value+"]", "{}"))
		exc := exceptionOf(err)
		if got := exc.Type + ": " + fmt.Sprint(err); !strings.HasPrefix(got, test.want) {
			t.Errorf("%T with %s:\n got %s\nwant %s", test.fn, test.value, got, test.want)
		}
	}
}

// Storage is used again from call to call: nothing of a call may be seen in the next.
func TestCallsAreSeparate(t *testing.T) {
	t.Parallel()
	entry := register("shop.use", func(list []int, m map[string]int, l line, p *int, rest ...string) string {
		number := 0
		if p != nil {
			number = *p
		}
		return fmt.Sprint(list, m, l, number, rest)
	}, tasks.Params("list=None, m=None, l={}, p=None, *rest"))
	for _, call := range []struct{ args, want string }{
		{`[[1, 2], {"a": 1}, {"sku": "x", "count": 1}, 5, "r"]`, "[1 2] map[a:1] {x 1} 5 [r]"},
		{`[]`, "[] map[] { 0} 0 []"},
		{`[[3], {"b": 2}, {"count": 2}]`, "[3] map[b:2] { 2} 0 []"},
	} {
		got, err := entry.Call(context.Background(), request(call.args, "{}"))
		if err != nil || got != call.want {
			t.Errorf("%s: got %v, %v, want %s", call.args, got, err, call.want)
		}
	}
}

func TestResultsAreNotSharedBetweenCalls(t *testing.T) {
	t.Parallel()
	entry := register("shop.same", func(v []int) []int { return v })
	first, _ := entry.Call(context.Background(), request(`[[1, 2, 3]]`, "{}"))
	if _, err := entry.Call(context.Background(), request(`[[7, 8, 9]]`, "{}")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, first); diff != "" {
		t.Error(diff)
	}
}
