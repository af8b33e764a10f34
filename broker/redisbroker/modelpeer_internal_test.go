package redisbroker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/explorer"
)

// peerDoes runs an operation of a peer.
func (w *world) peerDoes(ctx context.Context, op string, a *actor) outcome {
	do := func(what func() string) (string, bool) {
		reply, ok := w.Do(what)
		return reply, ok && ctx.Err() == nil
	}
	now := func() float64 { return float64(time.Now().UnixMicro()) / 1e6 }
	switch op {
	case "pop":
		raw, ok := do(func() string {
			raw, err := w.Redis.Pop("q")
			if err != nil {
				return "-"
			}
			return raw
		})
		if !ok {
			return nothing
		}
		d := broker.Delivery{Tag: string(read([]byte(raw)).DeliveryTag), Queue: "q", Content: content([]byte(raw))}
		if _, ok = do(func() string {
			w.Redis.HSet("unacked", d.Tag, fmt.Sprintf(`[%s,"","q"]`, raw))
			_, _ = w.Redis.ZAdd("unacked_index", now(), d.Tag)
			return "+"
		}); ok {
			return w.got([]broker.Delivery{d})
		}
	case "finish":
		about := a.concerned(op)
		if _, ok := do(func() string { w.acknowledge(about[0].Tag); return "+" }); ok {
			return func(s *state, a *actor) error {
				s.messages[about[0].id].settled = true
				a.without(about)
				return nil
			}
		}
	case "restore":
		w.restore(do)
	default:
		panic(op)
	}
	return nothing
}

func (w *world) acknowledge(tag string) {
	_, _ = w.Redis.ZRem("unacked_index", tag)
	w.Redis.HDel("unacked", tag)
}

// restore is kombu's: what nobody has acknowledged for the visibility timeout goes back, under its mutex, one message after the
// other, each if unacked has not changed since it was looked at.
func (w *world) restore(do func(func() string) (string, bool)) {
	if _, ok := do(func() string {
		if w.Redis.Exists("unacked_mutex") {
			return "-"
		}
		_ = w.Redis.Set("unacked_mutex", "kombu")
		w.Redis.SetTTL("unacked_mutex", 100*tick)
		return "+"
	}); !ok {
		return
	}
	until := float64(time.Now().Add(-w.model.patience()).UnixMicro()) / 1e6
	tags, ok := do(func() string {
		scores, _ := w.Redis.SortedSet("unacked_index")
		found := "+"
		for _, tag := range slices.Sorted(maps.Keys(scores)) {
			if scores[tag] <= until {
				found += tag + " "
			}
		}
		return found
	})
	if !ok {
		return
	}
	for _, tag := range strings.Fields(tags[1:]) {
		for again := true; again; {
			watched, ok := do(func() string { return "+" + w.unacked() })
			if !ok {
				return
			}
			changed, ok := do(func() string {
				if "+"+w.unacked() != watched {
					return "+changed"
				}
				w.putBack(tag)
				return "+"
			})
			if !ok {
				return
			}
			again = changed == "+changed"
		}
	}
	do(func() string { w.Redis.Del("unacked_mutex"); return "+" })
}

func (w *world) unacked() string {
	return strings.Join(explorer.Fields(w.Redis, "unacked"), ";")
}

func (w *world) putBack(tag string) {
	record := w.Redis.HGet("unacked", tag)
	w.acknowledge(tag)
	if record == "" {
		return
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(record), &parts); err != nil {
		w.t.Error(err)
	}
	_, _ = w.Redis.RPush("q", string(parts[0]))
}
