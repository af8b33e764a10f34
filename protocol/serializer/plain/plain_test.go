package plain_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer/plain"
)

func TestParseAndJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"null", "true", "-7", "123456789012345678901234567890", "2.0", "NaN", `"\u00e9"`, "[]", "{}", `{"b": 1, "a": [{"c": null}]}`,
		`{"__type__": "decimal", "__value__": "1.10"}`, `{"__type__": "x"}`, `{"__type__": 1, "__value__": 2, "more": [{"__type__": "date", "__value__": "2030-01-02"}]}`,
		`{"b": {"__type__": "x", "__value__": [{"__type__": "y", "__value__": {"__type__": "date", "__value__": "2030-01-02"}}]}, "a": 1}`,
		`{"caf\udce9": "\udc80"}`,
		`[{"__type__": "datetime", "__value__": "2030-01-02T03:04:05+02:00"}, {"__type__": "bytes", "__value__": "b"}]`,
	} {
		v, err := plain.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := plain.JSON(v, len(text)); err != nil || string(got) != text {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "[1", `{"__type__": "date", "__value__": 1}`, strings.Repeat("[", 1001) + strings.Repeat("]", 1001)} {
		if v, err := plain.Parse([]byte(text)); err == nil {
			t.Errorf("%.40s is %v", text, v)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	utc := time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, c := range []struct {
		key  any
		want string
	}{
		{"text", "text"},
		{nil, "null"},
		{true, "true"},
		{int64(7), "7"},
		{2.0, "2.0"},
		{new(big.Int).Lsh(big.NewInt(1), 70), "1180591620717411303424"},
		{[]byte("b"), "b"},
		{pyjson.Decimal("1.10"), "1.10"},
		{pyjson.Date{Year: 2030, Month: 1, Day: 2}, "2030-01-02"},
		{pyjson.UUID{15: 7}, "00000000-0000-0000-0000-000000000007"},
		{utc, "2030-01-02 03:04:05.000006+00:00"},
		{time.Date(2030, 1, 2, 3, 4, 5, 0, pyjson.Naive), "2030-01-02 03:04:05"},
	} {
		dict := &plain.Dict{}
		dict.Set(c.key, int64(1))
		if got, err := plain.JSON(dict, 0); err != nil || string(got) != `{"`+c.want+`": 1}` {
			t.Errorf("key %v: %s, %v", c.key, got, err)
		}
	}
	for _, key := range []any{&plain.List{}, &plain.Dict{}, []byte{255}} {
		if got, err := plain.JSON(&plain.Dict{Keys: []any{key}, Values: []any{nil}}, 0); err == nil || !strings.Contains(err.Error(), "a dict's keys must be") {
			t.Errorf("key %v: %s, %v", key, got, err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	list := &plain.List{}
	list.Items = []any{list}
	if _, err := plain.JSON(list, 0); err == nil || !strings.Contains(err.Error(), "contains itself") {
		t.Errorf("a list in itself: %v", err)
	}
	var v any = strings.Repeat("x", 1<<20)
	for range 40 {
		v = &plain.List{Items: []any{v, v}}
	}
	if _, err := plain.JSON(v, 1<<20); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a list doubled 40 times: %v", err)
	}
}
