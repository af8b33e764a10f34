package worker_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/tasks"
)

// weighed notes the most bytes that were published in one call.
type weighed struct {
	broker.Publisher
	most, calls int
}

func (w *weighed) Publish(ctx context.Context, messages ...broker.Publication) error {
	size := 0
	for i := range messages {
		size += messages[i].Message.Size()
	}
	w.most, w.calls = max(w.most, size), w.calls+1
	return w.Publisher.Publish(ctx, messages...)
}

// TestLargeGroupIsPublishedInPortions: every task of a group gets a large result.
func TestLargeGroupIsPublishedInPortions(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		const members, size = 40, 1 << 20
		var mu sync.Mutex
		seen := map[string]int{}
		b.reg.Register("app.large", func() string { return strings.Repeat("x", size) })
		b.reg.Register("app.measure", func(ctx context.Context, text string) int {
			mu.Lock()
			defer mu.Unlock()
			seen[tasks.Current(ctx).ID]++
			return len(text)
		})
		publisher := &weighed{Publisher: b.cfg.Publisher}
		b.cfg.Publisher = publisher
		b.start()
		group := make([]canvas.Signature, members)
		for i := range group {
			group[i] = canvas.Sig("app.measure")
		}
		b.send(canvas.Chain(canvas.Sig("app.large"), canvas.Group(group...)))
		b.sleep(0)
		if len(seen) != members {
			t.Errorf("%d tasks have run, want %d", len(seen), members)
		}
		if limit := 18 << 20; publisher.most > limit || publisher.calls != 4 { // a megabyte each
			t.Errorf("published in %d calls, the largest of %d bytes", publisher.calls, publisher.most)
		}
		b.wantQueued(0, 0)
	})
}
