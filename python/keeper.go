package python

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/internal/logline"
)

// keeper sees to it that there is a fork server: it starts another when one has ended, and
// when the app's code is to be loaded anew.
type keeper struct {
	start  func(ctx context.Context, modules []string) (*server, error)
	log    *atomic.Pointer[slog.Logger]
	loaded atomic.Pointer[func()] // called when a fork server was started because the last one had ended

	open    context.Context //nolint:containedctx // done when there is to be no fork server any more
	close   context.CancelFunc
	starts  chan struct{}  // has an element while one is started
	modules []string       // to be loaded besides the app; of who has the element
	ended   sync.WaitGroup // of the keeper's goroutine, and of all fork servers

	mu      sync.Mutex
	server  *server // of which children are forked
	servers map[*server]bool
	changed chan struct{} // closed, and replaced, when server changes
}

// newKeeper keeps a fork server that has been started.
func newKeeper(first *server, start func(context.Context, []string) (*server, error), log *atomic.Pointer[slog.Logger]) *keeper {
	k := &keeper{start: start, log: log, starts: make(chan struct{}, 1), servers: map[*server]bool{}, changed: make(chan struct{})}
	k.open, k.close = context.WithCancel(context.Background())
	k.set(first)
	k.ended.Go(k.keep)
	return k
}

// current returns the fork server of which children are to be forked, and a channel that is
// closed when it is another. It may have ended: then there will be another.
func (k *keeper) current() (s *server, changed <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.server, k.changed
}

// living returns the present fork server when it has not ended, or one that has when ctx is done.
func (k *keeper) living(ctx context.Context) *server {
	for {
		s, changed := k.current()
		select {
		case <-s.gone:
		default:
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s
		}
	}
}

// keep starts a fork server when the last one has ended, until the keeper is closed.
func (k *keeper) keep() {
	var (
		failures backoff
		failed   *server // the last one that has ended
	)
	for {
		s, changed := k.current()
		select {
		case <-changed:
		case <-k.open.Done():
			return
		case <-s.gone:
			lasted := time.Since(s.loaded)
			if s == failed {
				lasted = 0 // nothing took its place
			}
			failed = s
			if !failures.wait(lasted, k.open.Done()) {
				return
			}
			if err := k.replace(k.open, s); err != nil && k.open.Err() == nil {
				k.log.Load().Error("Cannot load the app again: "+err.Error(), logline.EventKey, "Cannot load the app again", "error", err)
			}
		}
	}
}

// replace starts a fork server in the place of one that has ended.
func (k *keeper) replace(ctx context.Context, gone *server) error {
	if !k.lock(ctx) {
		return context.Cause(ctx)
	}
	defer k.unlock()
	if s, _ := k.current(); s != gone {
		return nil // there is another
	}
	s, err := k.start(ctx, k.modules)
	if err != nil {
		return err
	}
	k.set(s)
	k.log.Load().Warn(fmt.Sprintf("The app is loaded again (fork server pid %d)", s.process.Pid),
		logline.EventKey, "The app is loaded again", "pid", s.process.Pid)
	if loaded := k.loaded.Load(); loaded != nil {
		(*loaded)()
	}
	return nil
}

// reload starts a fork server, which loads the app anew and modules besides, and has it take
// the place of the present one if it passes the trial. The present one ends with its last child.
func (k *keeper) reload(ctx context.Context, modules []string, trial func(context.Context, *server) error) (*server, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(k.open, cancel)()
	if !k.lock(ctx) {
		return nil, context.Cause(ctx)
	}
	defer k.unlock()
	modules = append(slices.Clip(k.modules), modules...)
	s, err := k.start(ctx, modules)
	if err != nil {
		return nil, err
	}
	if err := trial(ctx, s); err != nil {
		s.end()
		<-s.gone
		return nil, err
	}
	k.modules = slices.Compact(slices.Sorted(slices.Values(modules)))
	k.set(s)
	return s, nil
}

// set has s be the fork server of which children are forked.
func (k *keeper) set(s *server) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server != nil {
		k.server.retire()
	}
	k.server = s
	close(k.changed)
	k.changed = make(chan struct{})
	k.servers[s] = true
	k.ended.Go(func() {
		<-s.gone
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.servers, s)
	})
	if k.open.Err() != nil {
		s.end()
	}
}

// shut ends all fork servers, and whatever runs below them.
func (k *keeper) shut() {
	k.close()
	k.mu.Lock()
	for s := range k.servers {
		s.end()
	}
	k.mu.Unlock()
	k.ended.Wait()
}

func (k *keeper) lock(ctx context.Context) bool {
	select {
	case k.starts <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (k *keeper) unlock() { <-k.starts }
