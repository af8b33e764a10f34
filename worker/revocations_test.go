package worker

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
)

// Ids and stamps are known to the next owner of the same file; what was only noted is, too, as
// soon as anything else is kept. The oldest ids go when there are too many.
func TestRevocationsOutliveTheirOwner(t *testing.T) {
	t.Parallel()
	cfg := &Config{RevokesMax: 3, RevokeExpires: time.Hour, StateDB: filepath.Join(t.TempDir(), "state"), Logger: noLog.Logger}
	v, err := newRevocations(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v.add("1", "2")
	v.note("3")
	v.addStamps(map[string][]json.RawMessage{"customer": {[]byte(`"acme"`)}})
	v.add("4")
	if v, err = newRevocations(cfg); err != nil {
		t.Fatal(err)
	}
	if got := v.list(); !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("revoked: %v", got)
	}
	if v.has("1", time.Now()) || !v.has("2", time.Now()) || v.has("2", time.Now().Add(2*time.Hour)) {
		t.Error("too many are known, or too few, or for too long")
	}
	if header, value, found := v.byStamp(&protocol.Task{StampedHeaders: []string{"customer"}, Stamps: []byte(`{"customer": "acme"}`)}); !found {
		t.Errorf("the stamp is forgotten: %s %s", header, value)
	}
	if _, _, found := v.byStamp(&protocol.Task{Stamps: []byte(`{"customer": "acme"}`)}); found {
		t.Error("a header counts that is not stamped")
	}
}
