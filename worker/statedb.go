package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/apium/apium/internal/logline"
)

// state is what the file of Config.StateDB holds. Celery's is a Python shelve; ours is
// JSON.
type state struct {
	Revoked map[string]time.Time `json:"revoked"` // since when
	Stamps  map[string][]string  `json:"stamps"`  // header → values, as JSON
}

// loadState takes over what a worker before has left. If there is no file, it makes one,
// as Celery does: that it cannot is to be known now.
func (w *Worker) loadState() error {
	if w.cfg.StateDB == "" {
		return nil
	}
	text, err := os.ReadFile(w.cfg.StateDB)
	if errors.Is(err, fs.ErrNotExist) {
		return w.saveState()
	}
	if err != nil {
		return fmt.Errorf("worker: state database: %w", err)
	}
	var s state
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // a file of another kind must not be overwritten
	if err := decoder.Decode(&s); err != nil {
		return fmt.Errorf("worker: state database %s: not written by this program: %w", w.cfg.StateDB, err)
	}
	ids := slices.SortedFunc(maps.Keys(s.Revoked), func(a, b string) int { return s.Revoked[a].Compare(s.Revoked[b]) })
	for _, id := range ids {
		w.revoked.add(s.Revoked[id], id)
	}
	for header, values := range s.Stamps {
		for _, v := range values {
			w.stamps.add(header, json.RawMessage(v))
		}
	}
	return nil
}

// saveState writes the file anew: a reader, or a worker that dies meanwhile, finds the
// old one or the new one.
func (w *Worker) saveState() error {
	if w.cfg.StateDB == "" {
		return nil
	}
	w.stateMu.Lock()
	defer w.stateMu.Unlock()
	s := state{Revoked: map[string]time.Time{}, Stamps: w.stamps.all()}
	for _, item := range w.revoked.all(time.Now()) {
		s.Revoked[item.text] = item.at
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("worker: state database: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(w.cfg.StateDB), filepath.Base(w.cfg.StateDB)+".*")
	if err != nil {
		return fmt.Errorf("worker: state database: %w", err)
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), w.cfg.StateDB)
	}
	if err != nil {
		return fmt.Errorf("worker: state database: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}

// keepState saves the state after a change. That it cannot be saved is no reason to
// refuse the change.
func (w *Worker) keepState() {
	if err := w.saveState(); err != nil {
		w.log.Error(err.Error(), logline.EventKey, "Cannot keep revoked tasks", "error", err)
	}
}
