package redbeat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/beat"
	"github.com/apium/apium/beat/schedule"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol/pyjson"
)

// storeScript stores an entry, as RedBeat's save does: its runs stay.
var storeScript = redisconn.NewScript(3, `
redis.call('HSET', KEYS[1], 'definition', ARGV[1])
redis.call('HSETNX', KEYS[1], 'meta', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
redis.call('SADD', KEYS[3], ARGV[4])`)

// dropScript deletes an entry that was one of beat_schedule.
var dropScript = redisconn.NewScript(3, `
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], KEYS[1])
redis.call('SREM', KEYS[3], ARGV[1])`)

// storeStatics stores the entries of beat_schedule, and deletes those that were in it and are not any more.
func (s *Source) storeStatics(ctx context.Context) error {
	before, err := redis.Strings(s.pipe.Do(ctx, "SMEMBERS", s.staticsKey()))
	if err != nil {
		return err
	}
	for _, name := range before {
		if _, still := s.stored[name]; still {
			continue
		}
		s.cfg.Logger.Debug(fmt.Sprintf("beat: Removing old static schedule entry '%s'.", name), logline.EventKey, "An old entry was removed", "entry", name)
		if err := s.script(ctx, dropScript, name, name); err != nil {
			return err
		}
	}
	for _, e := range s.cfg.Static {
		definition, ok := s.stored[e.Name]
		if !ok {
			continue
		}
		if err := s.storeStatic(ctx, e, definition); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) storeStatic(ctx context.Context, e *beat.Entry, definition []byte) error {
	meta, err := redis.Bytes(s.pipe.Do(ctx, "HGET", s.key(e.Name), "meta"))
	if err != nil && !errors.Is(err, redis.ErrNil) {
		return err
	}
	now := time.Now()
	last := now
	if len(meta) > 0 {
		known := &beat.Entry{}
		if fillMeta(known, meta) == nil { // else Load says what is wrong
			last = known.LastRunAt
		}
	}
	at := now.Unix() // what has never run is due
	if !last.IsZero() {
		at = due(e.Schedule, last)
	}
	first := fmt.Sprintf(`{"last_run_at": %s}`, appendDatetime(nil, now.In(s.cfg.Location)))
	return s.script(ctx, storeScript, e.Name, definition, first, at, e.Name)
}

func (s *Source) script(ctx context.Context, script *redisconn.Script, name string, args ...any) error {
	_, err := s.pipe.Script(ctx, script, append([]any{s.key(name), s.scheduleKey(), s.staticsKey()}, args...)...)
	return err
}

// encode is what RedBeat stores of an entry. The error says what it has no form for.
func encode(e *beat.Entry, zone *time.Location) ([]byte, error) {
	if e.Err != nil {
		return nil, e.Err
	}
	when, err := encodeSchedule(e.Schedule, zone)
	if err != nil {
		return nil, err
	}
	dst := append([]byte(nil), `{"name": `...)
	dst = pyjson.AppendString(dst, e.Name)
	dst = append(dst, `, "task": `...)
	dst = pyjson.AppendString(dst, e.Task)
	for _, part := range []struct {
		name, none string
		raw        json.RawMessage
	}{{"args", "null", e.Args}, {"kwargs", "{}", e.Kwargs}, {"options", "{}", e.Options}} {
		if part.raw == nil {
			part.raw = json.RawMessage(part.none)
		}
		dst = fmt.Appendf(dst, `, "%s": `, part.name)
		if dst, err = appendStored(dst, part.raw); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return fmt.Appendf(dst, `, "schedule": %s, "enabled": true}`, when), nil
}

func encodeSchedule(s schedule.Schedule, zone *time.Location) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	var exported struct {
		Every    json.RawMessage
		Relative bool
		Crontab  *struct {
			Minute      json.RawMessage `json:"minute"`
			Hour        json.RawMessage `json:"hour"`
			DayOfWeek   json.RawMessage `json:"day_of_week"`
			DayOfMonth  json.RawMessage `json:"day_of_month"`
			MonthOfYear json.RawMessage `json:"month_of_year"`
			Timezone    string          `json:"timezone"`
		}
	}
	if pyjson.Kind(text) != '{' {
		exported.Every = text
	} else if err := json.Unmarshal(text, &exported); err != nil {
		return nil, err
	}
	switch c := exported.Crontab; {
	case exported.Every != nil:
		var seconds float64
		if err := json.Unmarshal(exported.Every, &seconds); err != nil {
			return nil, err
		}
		dst, err := pyjson.Append([]byte(`{"__type__": "interval", "every": `), seconds)
		return fmt.Appendf(dst, `, "relative": %t}`, exported.Relative), err
	case c != nil && c.Timezone == zone.String():
		return fmt.Appendf(nil, `{"__type__": "crontab", "minute": %s, "hour": %s, "day_of_week": %s, "day_of_month": %s, "month_of_year": %s}`,
			c.Minute, c.Hour, c.DayOfWeek, c.DayOfMonth, c.MonthOfYear), nil
	}
	return nil, fmt.Errorf("RedBeat has no such schedule: %s", s)
}

// appendStored writes a value with its dates as RedBeat's JSON has them. What else kombu knows, RedBeat does not.
func appendStored(dst, raw []byte) ([]byte, error) {
	return appendWith(dst, raw, func(dst, raw []byte) ([]byte, error) {
		scanner := pyjson.NewScanner(raw)
		switch value, err := scanner.KombuValue(); value := value.(type) {
		case nil:
			if err != nil {
				return dst, err
			}
		case time.Time:
			return appendDatetime(dst, value), nil
		default:
			return dst, fmt.Errorf("RedBeat cannot store a %T", value)
		}
		return appendMembers(dst, raw, func(dst []byte, _ string, raw []byte) ([]byte, error) { return appendStored(dst, raw) })
	})
}
