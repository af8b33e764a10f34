package explorer

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Redis is all that is in one, by key. It is replaced, never changed.
type Redis map[string]Value

// A Value is that of a key.
type Value struct {
	Kind   string             // as TYPE says it
	Text   []string           // of a string, list or set; of a hash, fields and values in turn
	Scores map[string]float64 // of a sorted set; those that are times less the present
	TTL    time.Duration      // 0: none
	Timed  bool               // scores are times
}

// Append writes all there is, the same if it is the same.
func (r Redis) Append(to []byte) []byte {
	for _, key := range slices.Sorted(maps.Keys(r)) {
		v := r[key]
		to = append(append(append(append(to, key...), ' '), v.Kind...), ' ')
		for _, text := range v.Text {
			to = append(strconv.AppendQuote(to, text), ' ')
		}
		for _, member := range slices.Sorted(maps.Keys(v.Scores)) {
			to = append(strconv.AppendFloat(append(append(to, member...), '='), 1000*v.Scores[member], 'f', 0, 64), ' ')
		}
		to = append(strconv.AppendInt(to, v.TTL.Milliseconds(), 10), '\n')
	}
	return to
}

// After is what it is when time has passed.
func (r Redis) After(d time.Duration) Redis {
	later := make(Redis, len(r))
	for key, v := range r {
		if v.TTL > 0 {
			if v.TTL -= d; v.TTL <= 0 {
				continue
			}
		}
		if v.Timed {
			scores := make(map[string]float64, len(v.Scores))
			for member, score := range v.Scores {
				scores[member] = score - d.Seconds()
			}
			v.Scores = scores
		}
		later[key] = v
	}
	return later
}

func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

// Load brings the machine's Redis into a state.
func (m *Machine) Load(r Redis) {
	m.Redis.FlushAll()
	for key, v := range r {
		m.set(key, &v)
		if v.TTL > 0 {
			m.Redis.SetTTL(key, v.TTL)
		}
	}
}

func (m *Machine) set(key string, v *Value) {
	switch v.Kind {
	case "string":
		_ = m.Redis.Set(key, v.Text[0])
	case "list":
		_, _ = m.Redis.RPush(key, v.Text...)
	case "set":
		_, _ = m.Redis.SAdd(key, v.Text...)
	case "hash":
		m.Redis.HSet(key, v.Text...)
	case "zset":
		for member, score := range v.Scores {
			if v.Timed {
				score += now()
			}
			_, _ = m.Redis.ZAdd(key, score, member)
		}
	}
}

// Save returns what is in the machine's Redis.
func (m *Machine) Save() Redis {
	r := Redis{}
	for _, key := range m.Redis.Keys() {
		r[key] = m.get(key)
	}
	return r
}

func (m *Machine) get(key string) Value {
	v := Value{Kind: m.Redis.Type(key), TTL: m.Redis.TTL(key), Timed: m.timed(key)}
	switch v.Kind {
	case "string":
		text, _ := m.Redis.Get(key)
		v.Text = []string{text}
	case "list":
		v.Text, _ = m.Redis.List(key)
	case "set":
		v.Text, _ = m.Redis.Members(key)
	case "hash":
		v.Text = Fields(m.Redis, key)
	case "zset":
		v.Scores, _ = m.Redis.SortedSet(key)
		if v.Timed {
			for member := range v.Scores {
				v.Scores[member] -= now()
			}
		}
	}
	return v
}

// Fields returns the fields of a hash, each followed by its value.
func Fields(redis *miniredis.Miniredis, key string) (all []string) {
	fields, _ := redis.HKeys(key)
	for _, field := range fields {
		all = append(all, field, redis.HGet(key, field))
	}
	return all
}

// Pass lets time pass, for those who are not explored.
func (m *Machine) Pass(d time.Duration) {
	time.Sleep(d)
	m.Redis.FastForward(d)
}
