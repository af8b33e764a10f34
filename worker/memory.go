package worker

import (
	"container/list"
	"sync"
	"time"
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
