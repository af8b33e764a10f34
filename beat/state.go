package beat

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// state is what is stored of an entry in [broker.Slots].
type state struct {
	Slot       time.Time `json:"slot,omitzero"`        // of its last run, in UTC; zero: there was none
	LastRunAt  time.Time `json:"last_run_at,omitzero"` // when that was sent
	Count      int       `json:"count,omitempty"`
	Since      time.Time `json:"since,omitzero"`       // when the entry was first seen
	Definition string    `json:"definition,omitempty"` // of the schedule that Slot belongs to
	Ended      bool      `json:"ended,omitempty"`      // it was a one-off
	// By is which beat stored this, and how many it had stored before: so no two are alike.
	By string `json:"by"`
}

func decodeState(stored string) (st state, err error) {
	if stored == "" {
		return st, nil
	}
	if err := json.Unmarshal([]byte(stored), &st); err != nil {
		return state{}, fmt.Errorf("%.200q is not what a beat stores: %w", stored, err)
	}
	return st, nil
}

func (st state) encode() string {
	raw, _ := json.Marshal(st) //nolint:errchkjson // texts, numbers and times within the years of JSON
	return string(raw)
}

// digest shortens what defines a schedule.
func digest(definition string) string {
	sum := sha256.Sum256([]byte(definition))
	return hex.EncodeToString(sum[:6])
}

// stamp is a time as it is stored: with microseconds, as Python's.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
