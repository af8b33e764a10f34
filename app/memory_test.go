package app

import "testing"

func TestIdleMemory(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	m := idleMemory{last: memoryUse{20 * mb, 1}}
	for _, step := range []struct {
		now  memoryUse
		left uint64 // after it was given back; 0: it was not due
	}{
		{memoryUse{20 * mb, 1}, 0},  // idle, and small
		{memoryUse{500 * mb, 4}, 0}, // large, and at work
		{memoryUse{500 * mb, 4}, 30 * mb},
		{memoryUse{30 * mb, 6}, 0}, // what the giving took
		{memoryUse{90 * mb, 6}, 0},
		{memoryUse{300 * mb, 6}, 290 * mb}, // it needs that much
		{memoryUse{290 * mb, 8}, 0},
		{memoryUse{290 * mb, 8}, 0},
		{memoryUse{400 * mb, 8}, 0},
		{memoryUse{500 * mb, 8}, 100 * mb},
	} {
		if due := m.due(step.now); due != (step.left > 0) {
			t.Errorf("%+v: %t", step.now, due)
		}
		if step.left > 0 {
			m.given(memoryUse{step.left, step.now.cycles})
		}
	}
}
