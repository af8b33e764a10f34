package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
)

// leases knows the deliveries that are not acknowledged yet and keeps them from
// being given to somebody else while this worker is alive.
type leases struct {
	mu   sync.Mutex
	held map[string]*request
}

func newLeases() *leases { return &leases{held: make(map[string]*request)} }

func (l *leases) add(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[r.tag] = r
}

// remove forgets requests that were acknowledged or given back.
func (l *leases) remove(requests ...*request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range requests {
		delete(l.held, r.tag)
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
	r := l.held[tag]
	delete(l.held, tag)
	return r
}

func (l *leases) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

// extendBatch bounds how many leases are renewed in one round trip.
const extendBatch = 1000

// renewLeases renews what the worker holds three times per visibility timeout.
func (w *Worker) renewLeases(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.VisibilityTimeout / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for tags := w.leases.tags(); len(tags) > 0 && ctx.Err() == nil; {
			n := min(len(tags), extendBatch)
			lost, err := w.cfg.Consumer.Extend(ctx, tags[:n]...)
			if err != nil {
				if ctx.Err() == nil {
					w.log.Error("Cannot renew leases: "+err.Error()+". Trying again", "leases", len(tags), logline.EventKey, "Cannot renew leases", "error", err)
				}
				break
			}
			w.loseLeases(lost)
			tags = tags[n:]
		}
	}
}

// loseLeases cancels the tasks whose messages are somebody else's by now. A tag
// that was acknowledged while its lease was being renewed is not held any more
// and no loss.
func (w *Worker) loseLeases(tags []string) {
	for _, tag := range tags {
		if r := w.leases.drop(tag); r != nil {
			w.leaseLost(r)
		}
	}
}

func (w *Worker) leaseLost(r *request) {
	if !r.lose() {
		return
	}
	w.observe(r.event(LeaseLost))
	if r.Task != nil {
		w.logTask(slog.LevelWarn, r, "Lease lost", "Task "+nameAndID(r.Task)+" was given to another worker: its lease was lost")
	}
}
