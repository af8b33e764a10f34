package beat

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
)

// feed is the goroutine that talks to a source: so nothing that a database does keeps runs from being sent.
type feed struct {
	Source
	log  *slog.Logger
	poll time.Duration
	news chan<- *feed // gets the feed when it has loaded entries, or may be told

	wake chan struct{} // it is another's turn to lead

	locked bool // the source's lock was asked for, and may have to be freed; of run's goroutine

	mu    sync.Mutex
	items []*item        // as loaded last
	ready bool           // they have been loaded
	fresh bool           // nobody has fetched them yet
	runs  map[string]Run // to be told, by entry
	leads bool
	held  time.Time // until when the source's lock is known to be ours
}

func newFeed(s Source, log *slog.Logger, poll time.Duration, news chan<- *feed) *feed {
	return &feed{Source: s, log: log, poll: poll, news: news, wake: make(chan struct{}, 1), runs: map[string]Run{}}
}

const (
	// tellEvery is how long runs are gathered until the source is told.
	tellEvery = time.Second
	// lockEvery is how often a source's lock is renewed, and lockHeld how long a renewal counts.
	lockEvery = 2 * time.Second
	lockHeld  = 5 * time.Second
	// lastWords is how long a source may take at the end.
	lastWords = 5 * time.Second
)

// run serves the source until ctx is done, and then tells it what is left.
func (f *feed) run(ctx context.Context) {
	locking, loading, telling := f.trouble("lock"), f.trouble("load"), f.trouble("write runs")
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	var asked, locked time.Time
	for ctx.Err() == nil {
		if now := time.Now(); now.Sub(locked) >= lockEvery {
			locked = now
			locking.note(f.lock(ctx))
		}
		now := time.Now()
		if _, ready := f.loaded(); !ready || now.Sub(asked) >= f.poll {
			asked = now
			loading.note(f.look(ctx))
		}
		if ctx.Err() == nil {
			telling.note(f.tell(ctx))
		}
		select {
		case <-ticker.C:
		case <-f.wake:
			locked = time.Time{}
		case <-ctx.Done():
		}
	}
	f.end(context.WithoutCancel(ctx), telling, locking)
}

func (f *feed) trouble(what string) *trouble {
	return &trouble{log: f.log, what: "beat: " + f.Name() + ": " + what}
}

// look loads the entries if they have changed, or have not been loaded.
func (f *feed) look(ctx context.Context) error {
	if _, ready := f.loaded(); ready {
		if changed, err := f.Changed(ctx); err != nil || !changed {
			return err
		}
	}
	return f.load(ctx)
}

func (f *feed) load(ctx context.Context) error {
	entries, err := f.Load(ctx)
	if err != nil {
		return err
	}
	before, _ := f.loaded()
	items := f.itemsOf(entries, before)
	f.mu.Lock()
	f.items, f.ready, f.fresh = items, true, true
	f.mu.Unlock()
	f.announce(ctx)
	return nil
}

// itemsOf makes items of entries: here, as that takes its time if there are thousands. What those before call, and
// when they are due, is not worked out again.
func (f *feed) itemsOf(entries []*Entry, before []*item) []*item {
	known := make(map[string]*item, len(before))
	for _, it := range before {
		known[it.Name] = it
	}
	items := make([]*item, len(entries))
	for i, e := range entries {
		if it := known[e.Name]; it != nil && e.means(it.Entry) {
			items[i] = &item{Entry: e, source: f, definition: it.definition, sig: it.sig, sigErr: it.sigErr}
		} else {
			items[i] = newItem(e, f)
		}
	}
	return items
}

func (f *feed) announce(ctx context.Context) {
	select {
	case f.news <- f:
	case <-ctx.Done():
	}
}

// lock takes or renews the source's lock while this beat leads.
func (f *feed) lock(ctx context.Context) error {
	locker, ok := f.Source.(Locker)
	if !ok {
		return nil
	}
	f.mu.Lock()
	leads, before := f.leads, f.held
	f.mu.Unlock()
	if !leads {
		return f.unlock(ctx, locker)
	}
	asked := time.Now()
	f.locked = true // even if the answer is lost
	held, err := locker.Lock(ctx)
	switch {
	case err != nil:
		return err
	case !held:
		f.locked = false
		f.lostLock()
		return nil
	case !asked.Before(before): // somebody else may have had it, and sent what is due
		if err := f.load(ctx); err != nil {
			return err
		}
	}
	f.hold(asked.Add(lockHeld))
	return nil
}

// unlock frees the source's lock.
func (f *feed) unlock(ctx context.Context, locker Locker) error {
	if !f.locked {
		return nil
	}
	f.hold(time.Time{})
	if err := locker.Unlock(ctx); err != nil {
		return err
	}
	f.locked = false
	return nil
}

// lostLock keeps entries from being sent until the lock is ours again.
func (f *feed) lostLock() {
	f.mu.Lock()
	had := !f.held.IsZero()
	f.held = time.Time{}
	f.mu.Unlock()
	if had {
		f.log.Warn("beat: "+f.Name()+": somebody else has the lock", logline.EventKey, "The lock of a source is another's", "source", f.Name())
	}
}

func (f *feed) hold(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = until
}

// mayRun tells whether entries of the source may be sent now.
func (f *feed) mayRun(now time.Time) bool {
	if _, ok := f.Source.(Locker); !ok {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Before(f.held) && !f.fresh // what was loaded with the lock counts
}

// setLeads says whether this beat leads.
func (f *feed) setLeads(leads bool) {
	f.mu.Lock()
	f.leads = leads
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// loaded returns the items, if they have been loaded. They belong to the beat's goroutine, but for what never changes
// in them.
func (f *feed) loaded() (items []*item, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.items, f.ready
}

// takeFresh tells whether the entries have been loaded since the last call.
func (f *feed) takeFresh() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fresh := f.fresh
	f.fresh = false
	return fresh
}

// ran has the source told of a run.
func (f *feed) ran(run Run) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs[run.Entry.Name] = run
}

// tell tells the source of the runs that there have been.
func (f *feed) tell(ctx context.Context) error {
	f.mu.Lock()
	told := f.runs
	f.runs = map[string]Run{}
	f.mu.Unlock()
	if len(told) == 0 {
		return nil
	}
	runs := make([]Run, 0, len(told))
	for _, run := range told {
		runs = append(runs, run)
	}
	err := f.Ran(ctx, runs)
	if err == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, run := range told {
		if _, newer := f.runs[name]; !newer {
			f.runs[name] = run
		}
	}
	return err
}

// end tells the source what it does not know yet, and frees its lock.
func (f *feed) end(ctx context.Context, telling, locking *trouble) {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	telling.note(f.tell(ctx))
	f.mu.Lock()
	f.leads = false
	f.mu.Unlock()
	locking.note(f.lock(ctx))
}
