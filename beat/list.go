package beat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/protocol/canvas"
)

// Listed is an entry with what is known of its runs.
type Listed struct {
	*Entry
	Source  string    // its name
	LastRun time.Time // when it was sent last; zero: never
	NextRun time.Time // when it is due next, which may be past; zero: never
	Count   int       // of its runs
}

// List reads all entries of some sources, and what is stored of them, in the order of their names.
func List(ctx context.Context, sources []Source, slots broker.Slots, schedule string, deadline time.Duration) ([]Listed, error) {
	all, err := loadAll(ctx, sources)
	if err != nil {
		return nil, err
	}
	stored, err := slots.Slots(ctx, schedule)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	listed := make([]Listed, 0, len(all))
	for _, it := range all {
		it.stored = stored[it.Name]
		it.state, _ = decodeState(it.stored) // a beat complains of it
		if it.plan(now, deadline); it.expired(now) {
			it.due = time.Time{}
		}
		listed = append(listed, Listed{
			Entry: it.Entry, Source: it.source.Name(), LastRun: later(it.state.LastRunAt, it.LastRunAt), NextRun: it.due,
			Count: max(it.state.Count, it.TotalRunCount),
		})
	}
	return listed, nil
}

// loadAll loads the entries of sources, in the order of their names. Of several with one name the first counts.
func loadAll(ctx context.Context, sources []Source) ([]*item, error) {
	var all []*item
	known := map[string]bool{}
	for _, s := range sources {
		entries, err := s.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name(), err)
		}
		for _, e := range entries {
			if !known[e.Name] {
				known[e.Name] = true
				all = append(all, newItem(e, &feed{Source: s}))
			}
		}
	}
	slices.SortFunc(all, func(a, b *item) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// UnknownError says that there is no entry of a name.
type UnknownError struct {
	Name  string
	Known []string // those that there are
}

func (e *UnknownError) Error() string { return fmt.Sprintf("there is no entry '%s'", e.Name) }

// Signature returns what the entry of a name calls, as a beat sends it.
func Signature(ctx context.Context, sources []Source, name string) (canvas.Signature, error) {
	all, err := loadAll(ctx, sources)
	if err != nil {
		return canvas.Signature{}, err
	}
	unknown := &UnknownError{Name: name}
	for _, it := range all {
		switch {
		case it.Name != name:
			unknown.Known = append(unknown.Known, it.Name)
		case it.Err != nil && it.Task == "":
			return canvas.Signature{}, fmt.Errorf("entry '%s' cannot run: %w", name, it.Err)
		case it.sigErr != nil:
			return canvas.Signature{}, fmt.Errorf("entry '%s' cannot run: %w", name, it.sigErr)
		default:
			return it.sig, nil
		}
	}
	return canvas.Signature{}, unknown
}
