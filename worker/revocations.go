package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/wholefile"
	"github.com/apium/apium/protocol"
)

// revocations are what is not to run: ids of tasks, and stamps. They outlive the worker if
// there is a state database.
type revocations struct {
	ids    *memory
	stamps revokedStamps

	stateDB string // a file; "": none
	writing sync.Mutex
	log     taskLog
}

// newRevocations takes over what the state database holds, and makes one if there is none.
func newRevocations(cfg *Config) (*revocations, error) {
	v := &revocations{ids: newMemory(cfg.RevokesMax, cfg.RevokeExpires), stateDB: cfg.StateDB, log: taskLog{cfg.Logger}}
	return v, v.load()
}

// has tells whether a task's id is revoked.
func (v *revocations) has(id string, now time.Time) bool { return v.ids.has(id, now) }

// byStamp finds the first stamp that revokes a task.
func (v *revocations) byStamp(t *protocol.Task) (header, value string, found bool) {
	return v.stamps.match(t)
}

// add revokes ids, the oldest first, and keeps them.
func (v *revocations) add(ids ...string) {
	v.ids.add(time.Now(), ids...)
	v.keep()
}

// note revokes an id without writing the state database for it alone.
func (v *revocations) note(id string) { v.ids.add(time.Now(), id) }

// addStamps revokes tasks by the values of stamped headers, and keeps that.
func (v *revocations) addStamps(headers map[string][]json.RawMessage) {
	for header, values := range headers {
		v.stamps.add(header, values...)
	}
	v.keep()
}

// list returns the ids that are revoked, the oldest first.
func (v *revocations) list() []string {
	items := v.ids.all(time.Now())
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.text
	}
	return ids
}

// state is what the file of Config.StateDB holds. Celery's is a Python shelve; ours is
// JSON.
type state struct {
	Revoked map[string]time.Time `json:"revoked"` // since when
	Stamps  map[string][]string  `json:"stamps"`  // header → values, as JSON
}

// load takes over what a worker before has left. If there is no file, it makes one,
// as Celery does: that it cannot is to be known now.
func (v *revocations) load() error {
	if v.stateDB == "" {
		return nil
	}
	text, err := os.ReadFile(v.stateDB)
	if errors.Is(err, fs.ErrNotExist) {
		return v.save()
	}
	if err != nil {
		return fmt.Errorf("worker: state database: %w", err)
	}
	var s state
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // a file of another kind must not be overwritten
	if err := decoder.Decode(&s); err != nil {
		return fmt.Errorf("worker: state database %s: not written by this program: %w", v.stateDB, err)
	}
	ids := slices.SortedFunc(maps.Keys(s.Revoked), func(a, b string) int { return s.Revoked[a].Compare(s.Revoked[b]) })
	for _, id := range ids {
		v.ids.add(s.Revoked[id], id)
	}
	for header, values := range s.Stamps {
		for _, value := range values {
			v.stamps.add(header, json.RawMessage(value))
		}
	}
	return nil
}

// save writes the file anew: a reader, or a worker that dies meanwhile, finds the
// old one or the new one.
func (v *revocations) save() error {
	if v.stateDB == "" {
		return nil
	}
	v.writing.Lock()
	defer v.writing.Unlock()
	s := state{Revoked: map[string]time.Time{}, Stamps: v.stamps.all()}
	for _, item := range v.ids.all(time.Now()) {
		s.Revoked[item.text] = item.at
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("worker: state database: %w", err)
	}
	if err := wholefile.Write(v.stateDB, text); err != nil {
		return fmt.Errorf("worker: state database: %w", err)
	}
	return nil
}

// keep saves the state after a change. That it cannot be saved is no reason to
// refuse the change.
func (v *revocations) keep() {
	if err := v.save(); err != nil {
		v.log.Error(err.Error(), logline.EventKey, "Cannot keep revoked tasks", "error", err)
	}
}
