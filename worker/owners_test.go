package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol"
)

// What the tests of single owners share: each makes the owner it is about, with what it needs
// of others replaced by what notes how it was called.

var noLog = taskLog{slog.New(slog.DiscardHandler)}

// notes collects what an owner does with requests, in order.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

// take returns what was noted since the last call.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := n.lines
	n.lines = nil
	return lines
}

// does notes that a request came to a place, by its id.
func (n *notes) does(what string) func(*request) {
	return func(r *request) { n.add("%s %s", what, r.ID) }
}

var fateNames = map[fate]string{none: "none", late: "late", requeue: "requeue", forward: "forward", burial: "burial", park: "park"}

// settles notes settlements by their fate.
func (n *notes) settles(s settlement) {
	line := fateNames[s.fate] + " " + s.req.ID
	if s.queue != "" {
		line += " to " + s.queue
	}
	if s.reason != "" {
		line += ": " + s.reason
	}
	n.add("%s", line)
}

// task is a request of a task, known or not.
func task(id string, config *taskConfig) *request {
	r := &request{task: config, content: broker.Deliver(&protocol.Message{}, protocol.Info{})}
	r.Task, r.Queue = &protocol.Task{ID: id, Name: "app.task"}, "celery"
	return r
}

// deadbroker is a consumer that answers what a test says, and notes what it is asked.
type deadbroker struct {
	broker.Consumer
	notes notes

	mu    sync.Mutex
	lost  []string // by Extend
	fails error
}

// answers changes what is answered from now on.
func (d *deadbroker) answers(lost []string, fails error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost, d.fails = lost, fails
}

func (d *deadbroker) answer() (lost []string, fails error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost, d.fails
}

func (d *deadbroker) Extend(_ context.Context, tags ...string) ([]string, error) {
	d.notes.add("extend %v", slices.Sorted(slices.Values(tags)))
	return d.answer()
}

func (d *deadbroker) Requeue(_ context.Context, place broker.Place, deliveries ...broker.Delivery) error {
	d.notes.add("requeue at %d:%s", place, tagsOf(deliveries))
	return nil
}

func (d *deadbroker) Hold(ctx context.Context, deliveries ...broker.Delivery) error {
	return d.Return(ctx, deliveries...)
}

func (d *deadbroker) Return(_ context.Context, deliveries ...broker.Delivery) error {
	d.notes.add("return:%s", tagsOf(deliveries))
	return nil
}

func (d *deadbroker) Due(_ context.Context, until time.Time, limit int) ([]broker.Delivery, error) {
	d.notes.add("due within %v, at most %d", time.Until(until), limit)
	return []broker.Delivery{{Tag: "parked"}}, nil
}

func (d *deadbroker) Park(context.Context, ...broker.Parked) ([]string, error) { return d.answer() }

func (d *deadbroker) Recall(_ context.Context, ids ...string) ([]broker.Delivery, error) {
	d.notes.add("recall %v", ids)
	return []broker.Delivery{{Tag: "recalled"}}, nil
}

func (d *deadbroker) Lease() broker.Lease {
	return broker.Lease{Term: 1, Until: time.Now().Add(time.Hour)}
}

func (d *deadbroker) LeaseLasts() time.Duration { return time.Hour }
func (d *deadbroker) Lapsed() <-chan struct{}   { return nil }
func (d *deadbroker) Beat()                     {}

func tagsOf(deliveries []broker.Delivery) (tags string) {
	for _, d := range deliveries {
		tags += " " + d.Tag
	}
	return tags
}
