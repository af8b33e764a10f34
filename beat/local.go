package beat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/wholefile"
)

// LocalSlots is [broker.Slots] for a broker that cannot keep what has been sent: it is kept here, in a file
// or only in memory. It knows nothing of other beats, each of which would send everything.
//
// A run is published first and noted then. So none is lost; a process that dies in between sends that run again
// when it has been started anew, with the same task id.
type LocalSlots struct {
	publisher broker.Publisher
	path      string // "": in memory

	mu     sync.Mutex
	stored map[string]map[string]string // schedule → entry → what is stored of it
}

var _ broker.Slots = (*LocalSlots)(nil)

// NewLocalSlots keeps what has been sent in a file, which it creates when there is something to be kept; "":
// in memory only.
func NewLocalSlots(publisher broker.Publisher, path string) (*LocalSlots, error) {
	l := &LocalSlots{publisher: publisher, path: path, stored: map[string]map[string]string{}}
	if path == "" {
		return l, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &l.stored)
	}
	if err != nil {
		return nil, fmt.Errorf("beat: %s, which keeps what has been sent, cannot be read: %w", path, err)
	}
	return l, nil
}

// Lead implements [broker.Slots]: whoever asks leads.
func (l *LocalSlots) Lead(_ context.Context, _, node string, lasts time.Duration) (string, time.Duration, error) {
	return node, lasts, nil
}

// Resign implements [broker.Slots].
func (l *LocalSlots) Resign(context.Context, string, string) error { return nil }

// Slots implements [broker.Slots].
func (l *LocalSlots) Slots(_ context.Context, schedule string) (map[string]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stored := maps.Clone(l.stored[schedule])
	if stored == nil {
		stored = map[string]string{}
	}
	return stored, nil
}

// Take implements [broker.Slots]. After an error none is taken, and messages may be published all the same if
// the broker cannot publish all or none.
func (l *LocalSlots) Take(ctx context.Context, schedule, _ string, turns ...broker.Turn) ([]broker.Taken, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken, messages, of, changes := broker.Compare(l.stored[schedule], turns)
	if len(messages) > 0 {
		if err := l.publisher.Publish(ctx, messages...); err != nil {
			return nil, ofTurn(err, of)
		}
	}
	if l.stored[schedule] == nil {
		l.stored[schedule] = map[string]string{}
	}
	maps.Copy(l.stored[schedule], changes)
	maps.DeleteFunc(l.stored[schedule], func(_, text string) bool { return text == "" })
	return taken, l.save()
}

// ofTurn has a refusal name the turn, not the message.
func ofTurn(err error, of []int) error {
	for _, refused := range broker.Refusals(err) {
		refused.Index = of[refused.Index]
		return refused
	}
	return err
}

// save writes the file, whole or not at all.
func (l *LocalSlots) save() error {
	if l.path == "" {
		return nil
	}
	raw, _ := json.MarshalIndent(l.stored, "", " ") //nolint:errchkjson // texts
	if err := wholefile.Write(l.path, raw); err != nil {
		return fmt.Errorf("beat: cannot note what has been sent: %w", err)
	}
	return nil
}
