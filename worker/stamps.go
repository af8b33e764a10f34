package worker

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// revokedStamps are the stamps whose tasks are revoked: values by header. Values are
// kept as JSON in the form Python writes.
type revokedStamps struct {
	mu     sync.RWMutex
	values map[string][]string
}

// add revokes tasks with one of these values in a stamp.
func (s *revokedStamps) add(header string, values ...json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string][]string{}
	}
	for _, raw := range values {
		if text := string(raw); !slices.Contains(s.values[header], text) {
			s.values[header] = append(s.values[header], text)
		}
	}
}

// stamp is one value of a stamped header, as JSON.
type stamp struct{ header, value string }

// match finds the first stamp that revokes a task.
func (s *revokedStamps) match(t *protocol.Task) (header, value string, found bool) {
	if matches := s.matches(t); len(matches) > 0 {
		return matches[0].header, matches[0].value, true
	}
	return "", "", false
}

// matches finds the stamps that revoke a task.
func (s *revokedStamps) matches(t *protocol.Task) (found []stamp) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.values) == 0 || t.Stamps == nil {
		return nil
	}
	stamps := pyjson.NewScanner(t.Stamps)
	if !stamps.Enter('{') {
		return nil
	}
	for stamps.Next() {
		name := string(stamps.Key())
		values := s.values[name]
		if !slices.Contains(t.StampedHeaders, name) || values == nil {
			stamps.Value()
			continue
		}
		for _, v := range stampValues(stamps.Value()) {
			if slices.Contains(values, v) {
				found = append(found, stamp{name, v})
			}
		}
	}
	return found
}

// stampValues returns the values of a stamp, which may be a list of them.
func stampValues(raw []byte) []string {
	if pyjson.Kind(raw) != '[' {
		return []string{string(raw)}
	}
	var values []string
	for _, value := range pyjson.Elements(raw) {
		values = append(values, string(value))
	}
	return values
}

func (s *revokedStamps) all() map[string][]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	values := make(map[string][]string, len(s.values))
	for header, list := range s.values {
		values[header] = slices.Clone(list)
	}
	return values
}
