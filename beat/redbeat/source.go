package redbeat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/redisconn"
)

// Source reads entries from RedBeat's keys and writes their runs back.
type Source struct {
	cfg    Config
	pipe   *redisconn.Pipeline
	token  string            // of the lock
	stored map[string][]byte // of beat_schedule, definitions by name
	memory []*beat.Entry     // of beat_schedule, what RedBeat cannot store

	set    bool             // the entries of beat_schedule are stored
	loaded map[string]*hash // by key, as Load has read them, or Ran has written

	mu       sync.Mutex
	recorded map[string]string // by key, the meta data that Record has made last, if Ran was not told of it yet
}

var (
	_ beat.Source   = (*Source)(nil)
	_ beat.Locker   = (*Source)(nil)
	_ beat.Recorder = (*Source)(nil)
)

// hash is what is stored of an entry.
type hash struct{ definition, meta string }

// New returns a source that connects when it is used. The error says what is wrong with the URL.
func New(cfg Config) (*Source, error) {
	cfg.setDefaults()
	conn, err := cfg.redis()
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, pipe: redisconn.NewPipeline(conn, redisconn.PipelineOptions{FailFast: true}), token: newToken(), stored: map[string][]byte{}, recorded: map[string]string{}}
	for _, e := range cfg.Static {
		if definition, err := encode(e, cfg.Location); err == nil {
			s.stored[e.Name] = definition
		} else {
			s.memory = append(s.memory, e)
		}
	}
	return s, nil
}

// Close ends the connection. It does not free the lock.
func (s *Source) Close() error { return s.pipe.Close() }

// Name implements [beat.Source].
func (s *Source) Name() string { return "redbeat" }

// Load implements [beat.Source].
func (s *Source) Load(ctx context.Context) ([]*beat.Entry, error) {
	if !s.set {
		if err := s.storeStatics(ctx); err != nil {
			return nil, err
		}
		s.set = true
	}
	hashes, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	s.loaded = hashes
	entries := slices.Clone(s.memory)
	for _, key := range slices.Sorted(maps.Keys(hashes)) {
		h := hashes[key]
		name := strings.TrimPrefix(key, s.cfg.KeyPrefix)
		if e := entry(name, []byte(h.definition), []byte(h.meta), s.cfg.Location); e != nil {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// Changed implements [beat.Source].
func (s *Source) Changed(ctx context.Context) (bool, error) {
	hashes, err := s.read(ctx)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(hashes) != len(s.loaded) {
		return true, nil
	}
	for key, now := range hashes {
		before := s.loaded[key]
		if before == nil || now.definition != before.definition || now.meta != before.meta && now.meta != s.recorded[key] {
			return true, nil
		}
	}
	return false, nil
}

// readScript returns definition and meta data of each key; a key without a definition leaves the schedule,
// as RedBeat has it.
var readScript = redisconn.NewScript(-1, `
local found = {}
for i = 2, #KEYS do
  local hash = redis.call('HMGET', KEYS[i], 'definition', 'meta')
  if not hash[1] then redis.call('ZREM', KEYS[1], KEYS[i]) end
  found[2 * i - 3], found[2 * i - 2] = hash[1] or '', hash[2] or ''
end
return found`)

// atATime is how many keys a script reads or writes, as Redis serves nobody else meanwhile.
const atATime = 200

// read reads all that is in the schedule. What has a negative due time is not: RedBeat never looks at it.
func (s *Source) read(ctx context.Context) (map[string]*hash, error) {
	keys, err := redis.Strings(s.pipe.Do(ctx, "ZRANGEBYSCORE", s.scheduleKey(), "0", "+inf"))
	if err != nil {
		return nil, err
	}
	hashes := make(map[string]*hash, len(keys))
	for portion := range slices.Chunk(keys, atATime) {
		args := []any{1 + len(portion), s.scheduleKey()}
		for _, key := range portion {
			args = append(args, key)
		}
		found, err := redis.Strings(s.pipe.Script(ctx, readScript, args...))
		if err != nil {
			return nil, err
		}
		for i, key := range portion {
			h := &hash{definition: found[2*i], meta: found[2*i+1]}
			if h.definition == "" {
				s.cfg.Logger.Warn(fmt.Sprintf("beat: Failed to load %s, removing", key), logline.EventKey, "An entry without a definition was removed", "key", key)
				continue
			}
			hashes[key] = h
		}
	}
	return hashes, nil
}

// ranScript writes meta data and due times of entries that are still there, as long as the lock is ours: then
// nobody else has sent them since.
var ranScript = redisconn.NewScript(-1, `
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then return end
for i = 3, #KEYS do
  if redis.call('HEXISTS', KEYS[i], 'definition') == 1 then
    redis.call('HSET', KEYS[i], 'meta', ARGV[2 * i - 4])
    redis.call('ZADD', KEYS[1], ARGV[2 * i - 3], KEYS[i])
  end
end`)

// Ran implements [beat.Source].
func (s *Source) Ran(ctx context.Context, runs []beat.Run) error {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r beat.Run) bool { return r.Slot.IsZero() })
	token := s.token
	if s.cfg.NoLock {
		token = ""
	}
	for portion := range slices.Chunk(runs, atATime) {
		keys, args := []any{2 + len(portion), s.scheduleKey(), s.cfg.LockKey}, []any{token}
		for i := range portion {
			key, meta, score := s.written(&portion[i])
			keys, args = append(keys, key), append(args, meta, score)
		}
		if _, err := s.pipe.Script(ctx, ranScript, append(keys, args...)...); err != nil && !errors.Is(err, redis.ErrNil) {
			return err
		}
		for i := range portion {
			key, meta, _ := s.written(&portion[i])
			if h := s.loaded[key]; h != nil {
				h.meta = meta
			}
			s.told(key, meta)
		}
	}
	return nil
}

// told forgets what was recorded of a run that Ran was told of.
func (s *Source) told(key, meta string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recorded[key] == meta {
		delete(s.recorded, key)
	}
}

// Record implements [beat.Recorder].
func (s *Source) Record(run beat.Run) *broker.Beside {
	if !s.cfg.BesideBroker || slices.ContainsFunc(s.memory, func(e *beat.Entry) bool { return e.Name == run.Entry.Name }) {
		return nil
	}
	key, meta, score := s.written(&run)
	s.mu.Lock()
	s.recorded[key] = meta
	s.mu.Unlock()
	beside := &broker.Beside{Commands: [][]string{
		{"HSET", key, "meta", meta},
		{"ZADD", s.scheduleKey(), "XX", strconv.FormatInt(score, 10), key},
	}}
	if !s.cfg.NoLock {
		beside.Lock, beside.Token = s.cfg.LockKey, s.token
	}
	return beside
}

// written is what RedBeat stores of a run.
func (s *Source) written(run *beat.Run) (key, meta string, score int64) {
	return s.key(run.Entry.Name), metaOf(run.At, run.Count, s.cfg.Location), nextLook(run)
}

// nextLook is when RedBeat is to look at an entry again, in UTC seconds; -1: never.
func nextLook(run *beat.Run) int64 {
	if run.Ended {
		return -1
	}
	return due(run.Entry.Schedule, run.At)
}

func due(s schedule.Schedule, last time.Time) int64 {
	next := s.Next(last)
	if next.IsZero() {
		return -1
	}
	return next.Unix()
}

func (s *Source) key(name string) string { return s.cfg.KeyPrefix + name }

func (s *Source) scheduleKey() string { return s.cfg.KeyPrefix + ":schedule" }

func (s *Source) staticsKey() string { return s.cfg.KeyPrefix + ":statics" }
