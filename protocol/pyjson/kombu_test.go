package pyjson_test

import (
	"encoding/json"
	"testing"

	"github.com/apium/apium/protocol/pyjson"
)

// What any kombu since 5.3.0 writes is read, and written as the newest one writes it:
// scripts/capture_kombu.py. Python 3.11 itself does not read the UUIDs of newer versions
// that kombu 5.3.0 writes.
func TestReadsEveryKombu(t *testing.T) {
	t.Parallel()
	// The newest kombu would write this offset as it came; Go's zones are of whole seconds.
	fraction := "datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(seconds=1, microseconds=1)))"
	unread := 0
	for _, line := range lines(t, "kombu.jsonl") {
		var c struct {
			Value, Dumps, Now string
			Versions          []string
			Reads             bool
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if !c.Reads {
			unread++
		}
		if c.Value == fraction {
			c.Now = mark("datetime", `"2030-01-02T03:04:04.999999+00:00:01"`)
		}
		var v any
		err := pyjson.Unmarshal([]byte(c.Dumps), &v)
		if check := pyjson.CheckTypes([]byte(c.Dumps)); err != nil || check != nil {
			t.Errorf("%s as kombu %s writes it, %s: %v, %v", c.Value, c.Versions[0], c.Dumps, err, check)
			continue
		}
		if out, err := pyjson.Append(nil, v); err != nil || string(out) != c.Now {
			t.Errorf("%s as kombu %s writes it, %s: written again as %s, %v, want %s", c.Value, c.Versions[0], c.Dumps, out, err, c.Now)
		}
	}
	if unread != 3 {
		t.Errorf("Python reads all but %d values, which makes this test another one", unread)
	}
}
