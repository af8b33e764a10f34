package redbeat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/internal/redistest"
)

// open returns a source of its own on a server.
func open(t *testing.T, server *redistest.Server, change func(*Config)) *Source {
	t.Helper()
	cfg := Config{URL: server.URL(0), Location: berlin(t)}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	eventually(t, "the connection", func() bool { _, err := s.pipe.Do(t.Context(), "PING"); return err == nil })
	return s
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func save(t *testing.T, server *redistest.Server, name string) {
	t.Helper()
	definition := fmt.Sprintf(`{"name": %q, "task": "t", "args": null, "kwargs": {}, "options": {}, "schedule": %s, "enabled": true}`, name, everyMinute)
	server.Do(t, "HSET", "redbeat:"+name, "definition", definition)
	server.Do(t, "HSETNX", "redbeat:"+name, "meta", ranAt)
	server.Do(t, "ZADD", "redbeat::schedule", time.Now().Unix(), "redbeat:"+name)
}

func load(t *testing.T, s *Source) map[string]*beat.Entry {
	t.Helper()
	entries, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*beat.Entry{}
	for _, e := range entries {
		found[e.Name] = e
	}
	return found
}

func changed(t *testing.T, s *Source) bool {
	t.Helper()
	changed, err := s.Changed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

const (
	everyMinute = `{"__type__": "interval", "every": 60.0, "relative": false}`
	ranAt       = `{"last_run_at": {"__type__": "datetime", "year": 2026, "month": 11, "day": 29, "hour": 10, "minute": 51, "second": 49, "microsecond": 0, "timezone": "UTC"}}`
)

func TestLoadAndChanged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server, nil)
	if len(load(t, s)) != 0 || changed(t, s) {
		t.Error("an empty Redis has entries, or changes")
	}
	for i := range 2*atATime + 3 { // more than are read at a time
		save(t, server, fmt.Sprintf("e%d", i))
	}
	server.Do(t, "ZADD", "redbeat::schedule", 5, "redbeat:gone")
	server.Do(t, "ZADD", "redbeat::schedule", -1, "redbeat:e0") // RedBeat never looks at it
	if !changed(t, s) {
		t.Error("new entries are no change")
	}
	found := load(t, s)
	if len(found) != 2*atATime+2 || found["e0"] != nil || found["e402"] == nil || found["e402"].Err != nil {
		t.Errorf("%d entries, e402: %+v", len(found), found["e402"])
	}
	if score := server.Do(t, "ZSCORE", "redbeat::schedule", "redbeat:gone"); score != nil {
		t.Error("what has no definition is still in the schedule")
	}
	if changed(t, s) {
		t.Error("nothing has changed")
	}
	server.Do(t, "HSET", "redbeat:e7", "definition", strings.Replace(string(server.Do(t, "HGET", "redbeat:e7", "definition").([]byte)), "{}", `{"k": 1}`, 1))
	if !changed(t, s) || string(load(t, s)["e7"].Kwargs) != `{"k": 1}` {
		t.Error("another definition is no change")
	}
	server.Do(t, "HSET", "redbeat:e8", "meta", `{"last_run_at": null}`)
	if !changed(t, s) || !load(t, s)["e8"].Since.Equal(never) {
		t.Error("other meta data are no change")
	}
}

func TestRan(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server, nil)
	save(t, server, "e")
	save(t, server, "deleted")
	found := load(t, s)
	server.Do(t, "DEL", "redbeat:deleted")
	at := time.Date(2026, 11, 29, 12, 0, 0, 5000, time.UTC)
	runs := []beat.Run{
		{Entry: found["e"], Slot: at, At: at, Count: 5},
		{Entry: found["deleted"], Slot: at, At: at, Count: 1},
		{Entry: &beat.Entry{Name: "only ended"}, Ended: true},
	}
	for _, hold := range []func(){
		func() { server.Do(t, "SET", "redbeat::lock", "python's") }, // who may have sent since
		func() { server.Do(t, "DEL", "redbeat::lock"); mustLock(t, s) },
	} {
		if meta := string(server.Do(t, "HGET", "redbeat:e", "meta").([]byte)); meta != ranAt {
			t.Errorf("without the lock, %s was written", meta)
		}
		hold()
		if err := s.Ran(t.Context(), runs); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"last_run_at": {"__type__": "datetime", "year": 2026, "month": 11, "day": 29, "hour": 13, "minute": 0, "second": 0, "microsecond": 5, "timezone": "Europe/Berlin"}, "total_run_count": 5}`
	if meta := string(server.Do(t, "HGET", "redbeat:e", "meta").([]byte)); meta != want {
		t.Errorf("%s\nwant %s", meta, want)
	}
	if score := string(server.Do(t, "ZSCORE", "redbeat::schedule", "redbeat:e").([]byte)); score != fmt.Sprint(at.Unix()+60) {
		t.Errorf("the next look is at %s", score)
	}
	if keys, _ := redis.Strings(server.Do(t, "KEYS", "redbeat:*"), nil); slices.Contains(keys, "redbeat:deleted") || slices.Contains(keys, "redbeat:only ended") {
		t.Errorf("there are %q", keys)
	}
	server.Do(t, "ZREM", "redbeat::schedule", "redbeat:deleted")
	found = load(t, s)
	if e := found["e"]; !e.LastRunAt.Equal(at) || e.TotalRunCount != 5 {
		t.Errorf("%+v", e)
	}
	if err := s.Ran(t.Context(), []beat.Run{{Entry: found["e"], Slot: at, At: at, Count: 6}}); err != nil || changed(t, s) {
		t.Errorf("our own run is a change, or %v", err)
	}
}

func mustLock(t *testing.T, s *Source) {
	t.Helper()
	if held, err := s.Lock(t.Context()); !held || err != nil {
		t.Fatalf("the lock is not ours: %v", err)
	}
}

// What is written along with a message is what is written afterwards.
func TestRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	solar := static(t, "solar", `{"solar": {"event": "sunset", "lat": 52.5, "lon": 13.4}}`)
	s := open(t, server, func(c *Config) { c.BesideBroker, c.Static = true, []*beat.Entry{solar} })
	mustLock(t, s)
	save(t, server, "e")
	at := time.Date(2026, 11, 29, 12, 0, 0, 5000, time.UTC)
	run := beat.Run{Entry: load(t, s)["e"], Slot: at, At: at, Count: 5}
	state := func() string {
		return fmt.Sprintf("%s, %s", server.Do(t, "HGETALL", "redbeat:e"), server.Do(t, "ZRANGE", "redbeat::schedule", 0, -1, "WITHSCORES"))
	}
	before := state()
	beside := s.Record(run)
	if held := server.Do(t, "GET", beside.Lock); string(held.([]byte)) != beside.Token {
		t.Errorf("%s has the value %s, not %s", beside.Lock, held, beside.Token)
	}
	for _, command := range beside.Commands {
		var args []any
		for _, word := range command[1:] {
			args = append(args, word)
		}
		server.Do(t, command[0], args...)
	}
	recorded := state()
	if changed, err := s.Changed(t.Context()); err != nil || changed {
		t.Errorf("what was recorded is a change: %v, %v", changed, err)
	}
	server.Do(t, "HSET", "redbeat:e", "meta", `{"last_run_at": null, "total_run_count": 9}`)
	if changed, err := s.Changed(t.Context()); err != nil || !changed {
		t.Errorf("what another scheduler has written is no change: %v, %v", changed, err)
	}
	save(t, server, "e")
	server.Do(t, "HSET", "redbeat:e", "meta", ranAt)
	if err := s.Ran(t.Context(), []beat.Run{run}); err != nil {
		t.Fatal(err)
	}
	if told := state(); told != recorded || told == before {
		t.Errorf("recorded: %s\ntold: %s", recorded, told)
	}
	if s.Record(beat.Run{Entry: solar, Slot: at, At: at}) != nil {
		t.Error("what is not in Redis is recorded there")
	}
	if elsewhere := open(t, server, nil); elsewhere.Record(run) != nil {
		t.Error("what is in another database than messages is recorded along with them")
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ours := open(t, server, func(c *Config) { c.LockTimeout = time.Hour })
	other := open(t, server, func(c *Config) { c.LockKey = ":lock" })
	none := open(t, server, func(c *Config) { c.NoLock = true })
	holds := func(s *Source) bool {
		held, err := s.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	if !holds(ours) || holds(other) || !holds(ours) || !holds(none) {
		t.Error("not exactly the first has the lock")
	}
	if ttl := server.Do(t, "TTL", "redbeat::lock").(int64); ttl < 3500 || ttl > 3600 {
		t.Errorf("the lock lapses in %d s", ttl)
	}
	if err := other.Unlock(t.Context()); err != nil || !holds(ours) {
		t.Errorf("who did not hold the lock has freed it, or %v", err)
	}
	if err := ours.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !holds(other) || holds(ours) {
		t.Error("a free lock was not taken")
	}
	server.Do(t, "SET", "redbeat::lock", "python's")
	if holds(other) {
		t.Error("the lock is held, and another has taken it")
	}
}

// Entries of beat_schedule are stored, keep their runs, and go when they are not in it any more.
func TestStatics(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	save(t, server, "kept")
	solar := static(t, "solar", `{"solar": {"event": "sunset", "lat": 52.5, "lon": 13.4}}`)
	first := load(t, open(t, server, func(c *Config) {
		c.Static = []*beat.Entry{static(t, "kept", `30`), static(t, "old", `60`), solar}
	}))
	if len(first) != 3 || first["kept"].TotalRunCount != 0 || first["kept"].LastRunAt.Hour() != 10 || first["solar"] != solar ||
		first["kept"].Schedule.Next(never) != never.Add(30*time.Second) {
		t.Errorf("%+v", first)
	}
	if age := time.Since(first["old"].LastRunAt); age < 0 || age > time.Minute {
		t.Errorf("a new entry ran %s ago", age)
	}
	if names, _ := redis.Strings(server.Do(t, "SORT", "redbeat::statics", "ALPHA"), nil); !slices.Equal(names, []string{"kept", "old"}) {
		t.Errorf("statics: %q", names)
	}
	second := load(t, open(t, server, func(c *Config) { c.Static = []*beat.Entry{static(t, "kept", `30`)} }))
	if len(second) != 1 || server.Do(t, "EXISTS", "redbeat:old").(int64) != 0 {
		t.Errorf("%+v", second)
	}
	if names, _ := redis.Strings(server.Do(t, "SMEMBERS", "redbeat::statics"), nil); !slices.Equal(names, []string{"kept"}) {
		t.Errorf("statics: %q", names)
	}
}
