package python

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/worker"
)

// pool is the executor: it has children in its seats.
type pool struct {
	app   *App
	kind  kind
	calls *calls

	census census

	mu     sync.Mutex
	seats  []*seat // by index; nil: free
	number int     // of the last child
	keep   sync.WaitGroup
}

func newPool(a *App, k kind) *pool {
	p := &pool{app: a, kind: k}
	p.calls = newCalls(p)
	return p
}

// Start implements worker.Executor. The fork server is there already.
func (p *pool) Start(context.Context) error { return nil }

// NewSlot implements worker.Executor.
func (p *pool) NewSlot() worker.Slot { return &slot{seat: p.sit()} }

// Prepare implements worker.Executor. Arguments are read by the child.
func (p *pool) Prepare(*worker.Run) error { return nil }

// Info implements worker.Executor.
func (p *pool) Info() worker.ExecutorInfo {
	info := worker.ExecutorInfo{Implementation: p.kind.implementation(), MaxTasksPerChild: p.app.Manifest().MaxTasksPerChild}
	for _, s := range p.taken() {
		if c, _ := s.serving(); c != nil {
			info.PIDs = append(info.PIDs, c.pid())
		}
	}
	return info
}

// Restart implements worker.Executor: a new fork server loads the app's code anew, and
// children of it take the places of the present ones, which end what they are at. If the new
// code cannot be loaded or is not accepted, or its children do not start, all stays as it was.
func (p *pool) Restart(ctx context.Context, modules ...string) error {
	before := p.app.Manifest()
	server, err := p.app.keeper.reload(ctx, modules, p.try)
	if err != nil {
		return err
	}
	for _, s := range p.taken() {
		if err := s.serves(ctx, server); err != nil {
			return fmt.Errorf("python: not all children are those of the new code yet: %w", err)
		}
	}
	log := p.app.log.Load()
	log.Info(fmt.Sprintf("The code of the app runs in new processes (fork server pid %d)", server.process.Pid),
		logline.EventKey, "The code of the app runs in new processes", "pid", server.process.Pid)
	p.app.warnOfNew(&before.Hooks, &server.manifest.Hooks)
	if changed := before.changedSettings(server.manifest); len(changed) > 0 {
		log.Warn("Settings have changed that take effect when the worker is started again: "+strings.Join(changed, ", "),
			logline.EventKey, "Settings have changed", "settings", changed)
	}
	return nil
}

// try tells whether the code of a fork server is accepted, and a child of it starts.
func (p *pool) try(ctx context.Context, server *server) error {
	if check := p.app.check.Load(); check != nil {
		if err := (*check)(server.manifest); err != nil {
			return err
		}
	}
	visitor := &seat{pool: p, left: make(chan struct{})}
	defer context.AfterFunc(ctx, func() { close(visitor.left) })()
	c, err := visitor.raise(server, 0)
	if err != nil {
		return fmt.Errorf("cannot start a child: %w", err)
	}
	c.retire()
	return nil
}

// Close implements worker.Executor.
func (p *pool) Close(ctx context.Context) error {
	p.calls.close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.keep.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		p.app.Close()
		<-ended
		return fmt.Errorf("python: children did not end in time: %w", context.Cause(ctx))
	}
}

// sit gives a slot a seat: one of its own, or that which all share.
func (p *pool) sit() *seat {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kind.shared {
		for _, s := range p.seats {
			if s != nil && s.join() {
				return s
			}
		}
	}
	index := slices.Index(p.seats, nil)
	if index < 0 {
		index = len(p.seats)
		p.seats = append(p.seats, nil)
	}
	s := &seat{pool: p, index: index, slots: 1, left: make(chan struct{}), changed: make(chan struct{})}
	p.seats[index] = s
	p.keep.Go(s.keep)
	return s
}

// free gives a seat's index to the next one.
func (p *pool) free(s *seat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seats[s.index] = nil
}

func (p *pool) taken() []*seat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.seats), func(s *seat) bool { return s == nil })
}

// spawn has a child forked, and is done with it when it has ended.
func (p *pool) spawn(server *server, index int) (*child, error) {
	p.app.creating()
	p.mu.Lock()
	p.number++
	number := p.number
	p.mu.Unlock()
	c, err := server.spawn(number, index, p.app.direct.Load(), time.Duration(p.app.claim.Load()))
	if err != nil {
		return nil, err
	}
	p.keep.Go(func() {
		c.read()
		p.report(c)
	})
	return c, nil
}

// exitRecycled is billiard's exit code of a child that makes way for a new one.
const exitRecycled = 0x9b

// report tells of a child that ended as it should not have.
func (p *pool) report(c *child) {
	c.mu.Lock()
	stopped, seated := c.stopped, c.seated
	c.reported = true
	c.mu.Unlock()
	if seated {
		p.census.hasEnded(c.why())
	}
	if code := c.exit.code; code == 0 || code == exitRecycled || stopped || c.exit.orphaned || c.pid() == 0 {
		return
	}
	name := p.app.Manifest().Process
	if !p.kind.shared {
		name += "-" + itoa(c.number)
	}
	p.app.log.Load().Error(fmt.Sprintf("Process '%s' pid:%d exited with '%s'", name, c.pid(), statusText(c.exit.code)),
		logline.EventKey, "Process exited", "process", name, "pid", c.pid(), "status", statusText(c.exit.code))
}
