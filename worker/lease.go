package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
)

// leases knows the deliveries that are not acknowledged yet and keeps them from
// being given to somebody else while this worker is alive. If the worker may have been
// taken for dead, because it was frozen or cut off, nothing that it holds starts before
// the broker has been asked whether it is still held.
type leases struct {
	consumer  broker.Consumer
	leaser    broker.Leaser // nil: what is held is never given to others
	joiner    broker.Joiner // nil: what runs needs no mention
	log       taskLog
	observers observers
	ask       chan struct{} // token: somebody waits until leases are renewed

	mu   sync.Mutex
	held map[string]*request
	size int // of their messages, in bytes
}

func newLeases(cfg *Config, able broker.Abilities) *leases {
	return &leases{
		consumer: cfg.Consumer, leaser: able.Leaser, joiner: able.Joiner, log: taskLog{cfg.Logger}, observers: cfg.Observers,
		ask: make(chan struct{}, 1), held: make(map[string]*request),
	}
}

// lapsed carries a token when all leases are to be looked at.
func (l *leases) lapsed() <-chan struct{} {
	return l.leaser.Lapsed()
}

// term is that of the lease now.
func (l *leases) term() uint64 {
	if l.leaser == nil {
		return 0
	}
	return l.leaser.Lease().Term
}

// good tells whether nobody else can have been given a request's message.
func (l *leases) good(r *request, lease broker.Lease, now time.Time) bool {
	return lease.Good(now) && r.term.Load() == lease.Term &&
		now.UnixNano()-r.leased.Load() < int64(l.leaser.LeaseLasts())
}

// begin tells the broker that a request is about to run. It reports false if that must not be.
func (l *leases) begin(r *request) bool {
	if l.joiner == nil || !r.acksLate || l.joiner.Begin(r.tag) {
		return true
	}
	l.loseAll([]string{r.tag})
	return false
}

// awaitPause is how often who waits for his lease looks again.
const awaitPause = 20 * time.Millisecond

// await waits until a request may start. It reports false when its lease is lost, and when
// nothing is to start any more.
func (l *leases) await(r *request, noStart <-chan struct{}) bool {
	for l.leaser != nil && !r.lost.Load() {
		lease, now := l.leaser.Lease(), time.Now()
		if l.good(r, lease, now) {
			return true
		}
		if lease.Good(now) {
			signal(l.ask)
		} else {
			l.leaser.Beat()
		}
		select {
		case <-time.After(awaitPause):
		case <-noStart:
			return false
		}
	}
	return !r.lost.Load()
}

// renewed notes that requests were held in a term of the lease, at a time.
func (l *leases) renewed(tags []string, term uint64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, tag := range tags {
		if r := l.held[tag]; r != nil {
			r.term.Store(term)
			r.leased.Store(at.UnixNano())
		}
	}
}

func (l *leases) add(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(r.tag)
	l.held[r.tag] = r
	l.size += r.content.Size
}

// remove forgets requests that were acknowledged or given back.
func (l *leases) remove(requests ...*request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range requests {
		l.dropLocked(r.tag)
	}
}

// tags returns the tags of all held requests.
func (l *leases) tags() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tags := make([]string, 0, len(l.held))
	for tag := range l.held {
		tags = append(tags, tag)
	}
	return tags
}

// drop forgets a tag whose lease was lost; nil if it was not held any more.
func (l *leases) drop(tag string) *request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropLocked(tag)
}

func (l *leases) dropLocked(tag string) *request {
	r := l.held[tag]
	if r != nil {
		delete(l.held, tag)
		l.size -= r.content.Size
	}
	return r
}

// bytes is how many the messages have that are held.
func (l *leases) bytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

func (l *leases) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

// extendBatch bounds how many leases are renewed in one round trip.
const extendBatch = 1000

// run renews what the worker holds, three times while a lease lasts, and as soon as somebody
// may have been given it.
func (l *leases) run(ctx context.Context) {
	if l.leaser == nil {
		return
	}
	ticker := time.NewTicker(l.leaser.LeaseLasts() / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.lapsed():
		case <-l.ask:
		}
		if l.renew(ctx) {
			continue
		}
		select { // not at the pace of those who wait for it
		case <-time.After(renewPause):
			signal(l.ask)
		case <-ctx.Done():
		}
	}
}

// renewPause is how long is waited after a failure.
const renewPause = time.Second

// renew renews what the worker holds now. It reports false if that failed.
func (l *leases) renew(ctx context.Context) bool {
	term := l.term() // before what is found out
	for tags := l.tags(); len(tags) > 0 && ctx.Err() == nil; {
		n := min(len(tags), extendBatch)
		start := time.Now()
		lost, err := l.consumer.Extend(ctx, tags[:n]...)
		if err != nil {
			if ctx.Err() == nil {
				l.log.Error("Cannot renew leases: "+err.Error()+". Trying again", "leases", len(tags), logline.EventKey, "Cannot renew leases", "error", err)
			}
			return false
		}
		l.loseAll(lost)
		l.renewed(tags[:n], term, start)
		tags = tags[n:]
	}
	return true
}

// loseAll cancels the tasks whose messages are somebody else's by now. A tag
// that was acknowledged while its lease was being renewed is not held any more
// and no loss.
func (l *leases) loseAll(tags []string) {
	for _, tag := range tags {
		if r := l.drop(tag); r != nil {
			l.lost(r)
		}
	}
}

// lost cancels a task whose message is somebody else's by now. Of one that is being read nobody has been told.
func (l *leases) lost(r *request) {
	if !r.lose() {
		return
	}
	if r.phase.Load() == unread {
		return
	}
	l.observers.tell(r.event(LeaseLost))
	switch {
	case r.Task == nil:
	case l.joiner != nil && r.phase.Load() == waiting: // Celery does not mention it
		l.log.task(slog.LevelDebug, r, "Lost with its connection", "Task "+nameAndID(r.Task)+" was lost with the connection to the broker, which delivers it again")
	default:
		l.log.task(slog.LevelWarn, r, "Lease lost", "Task "+nameAndID(r.Task)+" was given to another worker: its lease was lost")
	}
}
