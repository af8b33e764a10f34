package worker

import (
	"container/list"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// memory remembers texts for a while, the youngest ones when there are too many:
// Celery's LimitedSet. Its methods are safe for concurrent use.
type memory struct {
	most int
	ttl  time.Duration

	mu    sync.Mutex
	items map[string]*list.Element // of remembered
	age   list.List                // the oldest first
}

type remembered struct {
	text string
	at   time.Time
}

func newMemory(most int, ttl time.Duration) *memory {
	return &memory{most: most, ttl: ttl, items: map[string]*list.Element{}}
}

// add remembers texts as of a time; what is known already becomes young again.
func (m *memory) add(at time.Time, texts ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range texts {
		if e := m.items[text]; e != nil {
			m.age.Remove(e)
		}
		m.items[text] = m.age.PushBack(remembered{text, at})
	}
	m.purgeLocked(at)
}

func (m *memory) has(text string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.items) == 0 {
		return false
	}
	e := m.items[text]
	return e != nil && now.Sub(e.Value.(remembered).at) <= m.ttl
}

func (m *memory) purgeLocked(now time.Time) {
	for e := m.age.Front(); e != nil; e = m.age.Front() {
		item := e.Value.(remembered)
		if len(m.items) <= m.most && now.Sub(item.at) <= m.ttl {
			return
		}
		m.age.Remove(e)
		delete(m.items, item.text)
	}
}

// all returns what is remembered, the oldest first.
func (m *memory) all(now time.Time) []remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.purgeLocked(now)
	items := make([]remembered, 0, len(m.items))
	for e := m.age.Front(); e != nil; e = e.Next() {
		items = append(items, e.Value.(remembered))
	}
	return items
}

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
