package protocol_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// messageCase is a call and the queue entries a real producer left for it.
type messageCase struct {
	Name    string
	Call    string
	Entries []struct {
		Key      string
		Raw      string
		Want     wanted
		Restored string // what kombu's restore makes of it
	}
}

// wanted is what a reader must find: the arguments of the call, not those of the entry.
type wanted struct {
	Error          string
	ContentType    string `json:"content_type"`
	Protocol       int
	Name, ID       string
	Args, Kwargs   string
	ETA, Expires   *time.Time
	ETAFrom        *time.Time `json:"eta_from"`
	ETATo          *time.Time `json:"eta_to"`
	ExpiresFrom    *time.Time `json:"expires_from"`
	ExpiresTo      *time.Time `json:"expires_to"`
	Priority       int
	Retries        int
	TimeLimit      float64 `json:"time_limit"`
	SoftTimeLimit  float64 `json:"soft_time_limit"`
	RoutingKey     string  `json:"routing_key"`
	Headers        map[string]string
	Shadow         string
	IgnoreResult   bool `json:"ignore_result"`
	Callbacks      []string
	Errbacks       []string
	Chain          []string
	Chord          string
	HasGroup       bool     `json:"has_group"`
	GroupIndex     *int     `json:"group_index"`
	StampedHeaders []string `json:"stamped_headers"`
}

// resultRun is a worker's life: what it published under these settings.
type resultRun struct {
	Settings map[string]any
	Tasks    map[string]struct {
		Task    string
		Args    string
		Records []string
		Repr    string
	}
}

type malformedCase struct {
	Name    string
	Raw     string
	Log     []string // of the Python worker
	Crashed bool     // the Python worker
}

type textCases struct {
	Reprs []struct{ JSON, SafeRepr, Repr, Args string }
	Dates []struct{ Text, UTC, Error string }
}

// load reads testdata/<version>/<file>.
func load[T any](tb testing.TB, version, file string) T {
	tb.Helper()
	var v T
	raw, err := os.ReadFile(filepath.Join("testdata", version, file))
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		tb.Fatalf("testdata/%s/%s: %v", version, file, err)
	}
	return v
}

// captures lists the Celery versions there are captures of.
func captures(tb testing.TB) []string {
	tb.Helper()
	folders, err := filepath.Glob("testdata/celery-*")
	if err != nil || len(folders) < 4 {
		tb.Fatalf("captures of Celery 3.1, 4.4, 5.2 and 5.7 must be in testdata: %v, %v", folders, err)
	}
	for i, folder := range folders {
		folders[i] = filepath.Base(folder)
	}
	return folders
}

const newest = "celery-5.7.0"

// rawMessages returns every captured queue entry, for fuzzing.
func rawMessages(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, version := range captures(tb) {
		for _, c := range load[[]messageCase](tb, version, "messages.json") {
			for _, e := range c.Entries {
				all = append(all, []byte(e.Raw))
			}
		}
	}
	for _, c := range load[[]malformedCase](tb, "malformed", "messages.json") {
		all = append(all, []byte(c.Raw))
	}
	return all
}
