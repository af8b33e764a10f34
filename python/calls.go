package python

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// callsKept is how long a child that only runs calls is kept after the last one.
const callsKept = 10 * time.Second

// calls run tasks in the midst of something else, one at a time, in a child of their own that
// is there only while there are any.
type calls struct {
	pool *pool
	turn chan struct{} // has an element while one runs

	mu     sync.Mutex
	seat   *seat // nil: there is none
	timer  *time.Timer
	closed bool
}

func newCalls(p *pool) *calls {
	return &calls{pool: p, turn: make(chan struct{}, 1)}
}

var errClosed = errors.New("python: the executor is closed")

// Call implements worker.Executor. The result is the JSON that Celery would store.
func (p *pool) Call(ctx context.Context, entry *tasks.Entry, req *tasks.Request) (any, error) {
	a, err := p.calls.run(ctx, callHead(entry, req), callBody(req))
	if err != nil {
		return nil, err
	}
	return json.RawMessage(a.record), nil
}

// run has a child do something, and waits for its answer: a *protocol.Exception if that raises one,
// a *worker.LostError if the child dies of it.
func (c *calls) run(ctx context.Context, head, body []byte) (answer, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
	seat := c.sit()
	if seat == nil {
		return answer{}, errClosed
	}
	defer c.rest()
	for {
		if !seat.ready(ctx) {
			return answer{}, context.Cause(ctx)
		}
		by, _ := seat.serving()
		job, answers, ok := by.take()
		if !ok {
			continue
		}
		sent := by.send(&frame{job: job, head: head, body: body})
		a, err := c.await(ctx, by, answers)
		if err != nil {
			return answer{}, err
		}
		if a.lost && (!sent || !a.begun) {
			continue
		}
		return a, a.outcome(by).Err
	}
}

// await waits for the answer. When ctx is done, the child is ended, if it is there for calls only.
func (c *calls) await(ctx context.Context, by *child, answers <-chan answer) (answer, error) {
	select {
	case a := <-answers:
		return a, nil
	case <-ctx.Done():
		if c.pool.kind.shared {
			return answer{}, context.Cause(ctx)
		}
		by.retire()
		by.kill(sigKill)
		<-answers
		return answer{}, context.Cause(ctx)
	}
}

// callHead says which task is called.
func callHead(entry *tasks.Entry, req *tasks.Request) []byte {
	head := pyjson.AppendString([]byte(`{"call": `), entry.Name)
	head = pyjson.AppendString(append(head, `, "id": `...), req.ID)
	if f := req.Failed; f != nil {
		head = pyjson.AppendString(append(head, `, "failed": {"id": `...), f.Request.ID)
		head = pyjson.AppendString(append(head, `, "task": `...), f.Request.Name)
		head = pyjson.AppendString(append(head, `, "traceback": `...), f.Traceback)
		if exc := f.Exception; exc != nil {
			head = pyjson.AppendString(append(head, `, "type": `...), exc.Type)
			head = pyjson.AppendString(append(head, `, "module": `...), exc.Module)
			head = appendList(append(head, `, "message": `...), exc.Message)
		}
		head = append(head, '}')
	}
	return append(head, '}')
}

// callBody are the arguments.
func callBody(req *tasks.Request) []byte {
	body := appendList([]byte{'['}, req.Args)
	body = appendObject(append(body, ", "...), req.Kwargs)
	return append(body, ']')
}

func appendList(dst, raw []byte) []byte {
	if len(raw) == 0 {
		return append(dst, "[]"...)
	}
	return append(dst, raw...)
}

// sit returns the seat of calls; nil: there are to be none any more.
func (c *calls) sit() *seat {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.seat == nil {
		c.seat = c.pool.sit()
	}
	return c.seat
}

// rest has the seat left if there is no further call for a while.
func (c *calls) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(callsKept, func() {
		select {
		case c.turn <- struct{}{}:
			defer func() { <-c.turn }()
			c.leave()
		default: // one has begun
		}
	})
}

func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seat != nil {
		c.seat.leave()
		c.seat = nil
	}
}

func (c *calls) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.leave()
}
