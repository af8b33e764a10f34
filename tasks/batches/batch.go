package batches

import (
	"context"
	"sync"
	"time"

	"github.com/apium/apium/worker"
)

// batch is what one call of a handler is for. Its members arrive with their arguments read, or leave. When none is missing
// any more, one of those that are there calls the handler, and the others wait for it.
type batch struct {
	ctx   context.Context //nolint:containedctx // of the handler
	end   context.CancelCauseFunc
	ended func() // is called once: it does not run any more

	mu      sync.Mutex
	changed sync.Cond
	members []*member // in the order in which they came
	missing int       // members that have neither arrived nor left
	waited  int       // members that are waited for
	wanted  int       // members that are to go on
	leader  *member   // who calls the handler; nil: nobody yet
	over    bool      // the outcome is known
	outcome any
	err     error
}

// member is one task of a batch.
type member struct {
	ctx    context.Context //nolint:containedctx // of its run
	since  time.Time       // when it began to wait for its batch
	called chan struct{}   // closed when it has one
	batch  *batch

	// Of the batch's mutex:
	item    any
	arrived bool
	gone    bool        // it is not waited for
	place   int         // among the items that the handler got
	unwatch func() bool // nil: its context is not watched
	stopped bool        // its context is done, or it has left
}

// call makes a batch of members.
func call(members []*member, ended func()) {
	n := len(members)
	b := &batch{ended: ended, members: members, missing: n, waited: n, wanted: n}
	b.changed.L = &b.mu
	b.ctx, b.end = context.WithCancelCause(context.WithoutCancel(members[0].ctx))
	for _, m := range members {
		m.batch = b
		close(m.called)
	}
}

// watch has the handler's context done when those of all members are.
func (m *member) watch() {
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	m.unwatch = context.AfterFunc(m.ctx, func() {
		m.batch.mu.Lock()
		defer m.batch.mu.Unlock()
		m.stopLocked()
	})
}

func (m *member) stopLocked() {
	if b := m.batch; !m.stopped {
		m.stopped = true
		if b.wanted--; b.wanted == 0 {
			b.end(context.Cause(m.ctx))
		}
	}
}

// arrive waits until the batch has an outcome, or the member is not waited for any more. It reports true if the
// member is to call the handler instead.
func (m *member) arrive(item any) (leads bool) {
	b := m.batch
	b.mu.Lock()
	defer b.mu.Unlock()
	m.item, m.arrived = item, true
	if b.missing--; b.missing == 0 {
		b.changed.Broadcast()
	}
	for !b.over && !m.gone {
		if b.missing == 0 && b.leader == nil {
			b.leader = m
			return true
		}
		b.changed.Wait()
	}
	return false
}

// items are those that have arrived, in their order.
func (b *batch) items() (items []any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.members {
		if m.arrived && !m.gone {
			m.place = len(items)
			items = append(items, m.item)
		}
	}
	return items
}

// finish notes what has come of the handler.
func (b *batch) finish(outcome any, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finishLocked(outcome, err)
}

func (b *batch) finishLocked(outcome any, err error) {
	b.over, b.outcome, b.err = true, outcome, err
	b.changed.Broadcast()
	b.endLocked()
}

// outcome is what has come of the handler, for a member that has arrived.
func (m *member) outcome() (any, error) {
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	if !m.batch.over {
		return nil, context.Cause(m.ctx) // the worker has answered for it
	}
	return m.batch.outcome, m.batch.err
}

// release has nobody wait for a member any more: the worker answers for it.
func (m *member) release() {
	m.batch.mu.Lock()
	defer m.batch.mu.Unlock()
	m.releaseLocked()
}

func (m *member) releaseLocked() {
	if b := m.batch; !m.gone {
		m.gone = true
		b.waited--
		b.changed.Broadcast()
		b.endLocked()
	}
}

// endLocked tells, once, that the batch does not run any more.
func (b *batch) endLocked() {
	if (b.over || b.waited == 0) && b.ended != nil {
		go b.ended() // it may call the next batch
		b.ended = nil
	}
}

// leave ends a member's part, with what its run came to. What its own panic was, or that its handler has ended the
// goroutine, is what came of the others, too.
func (m *member) leave(err error) {
	b := m.batch
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.unwatch != nil {
		m.unwatch()
	}
	if !m.arrived {
		b.missing--
		b.changed.Broadcast()
	}
	if b.leader == m && !b.over {
		if err == nil {
			err = &worker.LostError{Status: "the handler ended its goroutine"}
		}
		b.finishLocked(nil, err)
	}
	m.releaseLocked()
	m.stopLocked()
}
