package redisbroker

import (
	"fmt"
	"testing"
	"testing/synctest"
)

// TestWhoWasMissingIsLookedAtAgain: of a large fleet each look takes some at random, but those that the last one missed it takes, too. Else
// hardly anybody would be missed twice in a row, which is what it takes to be dead.
func TestWhoWasMissingIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &models[0])
		w.first()
		dead := map[string]bool{}
		for i := range 2000 {
			id := fmt.Sprint(idPrefix, i)
			w.Redis.HSet("apium.workers", id, `{"queues": ["q"]}`)
			if i < 5 {
				dead[id] = true
			} else {
				_ = w.Redis.Set("apium.alive."+id, "1")
			}
		}
		if _, err := w.workers["A"].look(t.Context(), dead); err != nil {
			t.Fatal(err)
		}
		for id := range dead {
			if w.Redis.HGet("apium.workers", id) != "" {
				t.Errorf("%s is still registered", id)
			}
		}
	})
}

// TestWhoIsMissingOnceKeepsWhatItHolds: a sign of life that comes late, as when Redis or the worker had no processor for a moment, costs nothing.
// That one look is not enough is no guarantee of the models: where the sign is missing, others may have what a worker holds.
func TestWhoIsMissingOnceKeepsWhatItHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &model{claimed: true, actors: []actor{modelWorker("A", map[string]int{"claim": 1}), modelWorker("B", nil)}})
		s := w.first()
		w.Load(s.redis)
		tag, sign := s.actors[0].held[0].Tag, "apium.alive."+idPrefix+"A"
		look := func(before map[string]bool) (missing map[string]bool) {
			t.Helper()
			missing, err := w.workers["B"].look(t.Context(), before)
			if err != nil {
				t.Fatal(err)
			}
			return missing
		}
		w.Redis.Del(sign)
		missing := look(nil)
		if w.Redis.HGet("unacked", tag) == "" {
			t.Fatal("one look without a sign of life was enough")
		}
		_ = w.Redis.Set(sign, "1")
		if missing = look(missing); w.Redis.HGet("unacked", tag) == "" || len(missing) > 0 {
			t.Fatalf("who has come back is taken for dead: %v", missing)
		}
		w.Redis.Del(sign)
		if look(look(missing)); w.Redis.HGet("unacked", tag) != "" {
			t.Fatal("two looks were not enough")
		}
	})
}
