package pyjson_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// The texts are Python's: see testdata/loads.jsonl for what it reads, and for writing
//
//	>>> json.dumps(10**4300)
//	ValueError: Exceeds the limit (4300 digits) for integer string conversion; use sys.set_int_max_str_digits() to increase the limit
func TestIntDigits(t *testing.T) {
	t.Parallel()
	most, more := strings.Repeat("9", 4300), strings.Repeat("9", 4301)
	const reading = "Exceeds the limit (4300 digits) for integer string conversion: value has 4301 digits; " +
		"use sys.set_int_max_str_digits() to increase the limit"
	writing := strings.Replace(reading, ": value has 4301 digits", "", 1)
	for _, sign := range []string{"", "-"} {
		for _, dst := range []any{
			new(any), new(int), new(uint8), new(float64), new(float32), new(string), new(bool), new(big.Int), new(big.Float), new([]any),
			new(pyjson.Decimal), new(json.Number), new(json.RawMessage), new(time.Duration), new(time.Time), new(order), new(parsed), new(*big.Int),
		} {
			if err := pyjson.Unmarshal([]byte(sign+more), dst); err == nil || err.Error() != reading {
				t.Errorf("4301 digits into %T: %v", dst, err)
			}
			if err := pyjson.Unmarshal([]byte(`[{"skipped": [`+sign+more+`]}]`), new([]order)); err == nil || err.Error() != reading {
				t.Errorf("4301 digits that nobody wants: %v", err)
			}
		}
		var n *big.Int
		if err := pyjson.Unmarshal([]byte(sign+most), &n); err != nil || n.String() != sign+most {
			t.Errorf("4300 digits: %v", err)
		}
		for _, v := range []any{n, *n, []big.Int{*n}, json.Number(sign + most), json.RawMessage(sign + most)} {
			if out, err := pyjson.Append(nil, v); err != nil || strings.Trim(string(out), "[]") != sign+most {
				t.Errorf("4300 digits in a %T: %v", v, err)
			}
		}
		beyond := bigInt(sign + more)
		for _, v := range []any{beyond, *beyond, map[string]any{"n": beyond}, []*big.Int{beyond}, new(big.Int).Lsh(beyond, 1<<24)} {
			if _, err := pyjson.Append(nil, v); err == nil || err.Error() != writing {
				t.Errorf("writing 4301 digits in a %T: %v", v, err)
			}
		}
		for _, v := range []any{json.Number(sign + more), json.RawMessage(sign + more)} {
			if _, err := pyjson.Append(nil, v); err == nil || !strings.HasSuffix(err.Error(), reading) {
				t.Errorf("writing 4301 digits in a %T: %v", v, err)
			}
		}
		for _, text := range []string{more + ".5", "0." + more, more + "e1", `"` + more + `"`} {
			if err := pyjson.Valid([]byte(text)); err != nil {
				t.Errorf("%.10s…, which is no int: %v", text, err)
			}
		}
	}
}
