package sqlbackend

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/sqldb"
	"github.com/apium/apium/protocol"
)

// Databases tell nobody of a change: who waits looks, soon and then more rarely. Celery looks
// every half second.
const (
	pollFirst = 50 * time.Millisecond
	pollLast  = 500 * time.Millisecond
)

// polls looks for the records of all who wait, in one query.
type polls struct {
	b *Backend

	mu      sync.Mutex
	waiters map[*waiter]bool
	running bool          // there is a goroutine that looks
	hurry   chan struct{} // capacity 1: look now
	ended   sync.WaitGroup
}

// waiter waits for one task.
type waiter struct {
	taskID string
	news   chan news // capacity 1: the latest record
}

// news is a record, or why there is none.
type news struct {
	document []byte
	err      error
}

func newPolls(b *Backend) *polls {
	return &polls{b: b, waiters: map[*waiter]bool{}, hurry: make(chan struct{}, 1)}
}

// Wait implements backend.Loader.
func (b *Backend) Wait(ctx context.Context, taskID string) ([]byte, error) {
	return b.Watch(ctx, taskID, func([]byte) {})
}

// Watch implements backend.Loader. States that come faster than it looks are left out.
func (b *Backend) Watch(ctx context.Context, taskID string, unready func(record []byte)) ([]byte, error) {
	if err := b.closed(); err != nil {
		return nil, err
	}
	w := &waiter{taskID: taskID, news: make(chan news, 1)}
	b.polls.add(w)
	defer b.polls.remove(w)
	var last []byte
	for {
		select {
		case n := <-w.news:
			if n.err != nil {
				return nil, n.err
			}
			if bytes.Equal(n.document, last) {
				continue
			}
			last = n.document
			state, err := backend.State(last)
			if err != nil {
				continue
			}
			if state.Ready() {
				return last, nil
			}
			unready(last)
		case <-b.closing.Done():
			return nil, backend.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *polls) add(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiters[w] = true
	if p.running {
		p.soon()
		return
	}
	if p.b.closing.Err() == nil {
		p.running = true
		p.ended.Go(p.run)
	}
}

func (p *polls) remove(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiters, w)
}

// wait waits for the end of the goroutine, after the backend's end has begun.
func (p *polls) wait() {
	p.mu.Lock()
	p.mu.Unlock() //nolint:staticcheck // whoever had the lock has started it; no other is started any more
	p.ended.Wait()
}

// look has those look who wait for what was just stored in this process.
func (p *polls) look(rows []*row) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiters) == 0 {
		return
	}
	stored := make(map[string]protocol.State, len(rows))
	for _, r := range rows {
		stored[r.id] = r.state
	}
	for w := range p.waiters {
		if _, ok := stored[w.taskID]; ok {
			p.soon()
			return
		}
	}
}

func (p *polls) soon() {
	select {
	case p.hurry <- struct{}{}:
	default:
	}
}

// run looks until nobody waits any more.
func (p *polls) run() {
	interval := pollFirst
	for {
		waiting, more := p.waiting()
		if !more {
			return
		}
		p.poll(waiting)
		select {
		case <-p.hurry:
			interval = pollFirst
			// Many may begin to wait one after the other: they are looked for together.
			select {
			case <-time.After(time.Millisecond):
			case <-p.b.closing.Done():
			}
		case <-time.After(interval):
			interval = min(2*interval, pollLast)
		case <-p.b.closing.Done():
			return
		}
	}
}

// waiting returns who waits, by task. If nobody does, this goroutine is to end.
func (p *polls) waiting() (byTask map[string][]*waiter, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	byTask = make(map[string][]*waiter, len(p.waiters))
	for w := range p.waiters {
		byTask[w.taskID] = append(byTask[w.taskID], w)
	}
	p.running = len(byTask) > 0
	return byTask, p.running
}

// poll looks once. While the database is away, everybody waits on.
func (p *polls) poll(waiting map[string][]*waiter) {
	b, ctx := p.b, p.b.closing
	t, err := b.tables(ctx)
	for ids := range slices.Chunk(slices.Collect(maps.Keys(waiting)), readGroup) {
		if err == nil {
			err = b.said(b.db.Retry(ctx, func(ctx context.Context) error {
				return b.read(ctx, b.db, t, ids, func(id string, document []byte, err error) error {
					for _, w := range waiting[id] {
						w.tell(news{document, err})
					}
					return nil
				})
			}))
		}
		if trouble := sqldb.TroubleOf(err); err != nil && trouble != sqldb.Away && trouble != sqldb.Conflict && !errors.Is(err, context.DeadlineExceeded) {
			for _, id := range ids {
				for _, w := range waiting[id] {
					w.tell(news{err: err})
				}
			}
		}
	}
}

// tell leaves the latest news.
func (w *waiter) tell(n news) {
	for {
		select {
		case w.news <- n:
			return
		default:
		}
		select {
		case <-w.news:
		default:
		}
	}
}
