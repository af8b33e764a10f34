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
