package redisconn

import (
	"context"
	"sync"
	"sync/atomic"
)

// call is one command in flight. It is used again as soon as both sides are done with it.
type call struct {
	spare *sync.Pool    // where it goes then
	done  chan struct{} // capacity 1
	state atomic.Int32
	reply any
	err   error
}

const (
	waiting   = iota
	answered  // reply and err are set, done has been or will be signalled
	abandoned // nobody waits any more: whoever answers frees it
)

// newCall takes a call that was used before, if there is one.
func newCall(spare *sync.Pool) *call {
	if c, ok := spare.Get().(*call); ok {
		return c
	}
	return &call{spare: spare, done: make(chan struct{}, 1)}
}

func (c *call) free() {
	c.reply, c.err = nil, nil
	c.state.Store(waiting)
	c.spare.Put(c)
}

// answer hands over the reply. The caller must not touch c afterwards.
func (c *call) answer(reply any, err error) {
	c.reply, c.err = reply, err
	if c.state.CompareAndSwap(waiting, answered) {
		c.done <- struct{}{}
		return
	}
	c.free()
}

// wait returns the reply, or the context's error. The caller must not touch c afterwards.
func (c *call) wait(ctx context.Context) (any, error) {
	if ctx.Done() == nil {
		<-c.done
	} else {
		select {
		case <-c.done:
		case <-ctx.Done():
			if c.state.CompareAndSwap(waiting, abandoned) {
				return nil, ctx.Err()
			}
			<-c.done
		}
	}
	reply, err := c.reply, c.err
	c.free()
	return reply, err
}
