package redbeat

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// RedBeat's own rules, and when they are due.
func TestRules(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/rrule.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Schedule json.RawMessage
		Cases    [][2]*int64
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		rule, err := parseRule(row.Schedule)
		if err != nil {
			t.Errorf("%s: %v", row.Schedule, err)
			continue
		}
		for _, c := range row.Cases {
			last := time.Unix(*c[0], 0).UTC()
			want := time.Time{}
			if c[1] != nil {
				want = time.Unix(*c[1], 0).UTC()
			}
			if got := rule.Next(last); !got.Equal(want) || got.Location() != time.UTC {
				t.Errorf("%s after %s: %s, want %s", row.Schedule, last, got, want)
			}
		}
	}
}
