package membackend

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
)

// lease is how long the one who is told to run a chord's body has it for themselves.
const lease = 10 * time.Second

// chord is what has been counted.
type chord struct {
	parts   map[partKey]bool
	results []counted
	size    int // 0: not said
	more    int
	token   string
	until   time.Time // how long the token's owner has the chord
	done    bool
}

// partKey is what makes two deliveries the same part.
type partKey struct {
	taskID string
	index  int
}

type counted struct {
	index  int
	result backend.ChordResult
}

func (b *Backend) chord(groupID string) *chord {
	c, ok := b.chords[groupID]
	if !ok {
		c = &chord{parts: make(map[partKey]bool)}
		b.chords[groupID] = c
	}
	return c
}

// Count implements backend.Chords.
func (b *Backend) Count(ctx context.Context, parts ...backend.ChordPart) ([]backend.ChordCount, error) {
	counts := make([]backend.ChordCount, len(parts))
	err := b.locked(ctx, func() error {
		for i, part := range parts {
			counts[i] = b.chord(part.GroupID).count(part)
		}
		return nil
	})
	return counts, err
}

func (c *chord) count(part backend.ChordPart) backend.ChordCount {
	if c.done {
		return backend.ChordCount{State: backend.ChordDone}
	}
	key := partKey{part.TaskID, math.MaxInt}
	if part.Index != nil {
		key.index = *part.Index
	}
	again := c.parts[key]
	if !again {
		c.parts[key] = true
		result := backend.ChordResult{TaskID: part.TaskID, State: part.State, Result: bytes.Clone(part.Result)}
		if result.Result == nil {
			result.Result = []byte("null")
		}
		c.results = append(c.results, counted{key.index, result})
	}
	count := backend.ChordCount{Count: len(c.results)}
	size := cmp.Or(c.size, part.Size)
	if size == 0 {
		return count
	}
	count.Total = size + c.more
	now := time.Now()
	switch {
	case count.Count < count.Total:
	case now.Before(c.until):
		count.State = backend.ChordClaimed
		count.Lease = c.until.Sub(now)
	default:
		c.token, c.until = protocol.NewID(), now.Add(lease)
		count.State = backend.ChordComplete
		count.Claim, count.Again = backend.ChordClaim{GroupID: part.GroupID, Token: c.token}, again
	}
	return count
}

// Results implements backend.Chords.
func (b *Backend) Results(ctx context.Context, groupID string) ([]backend.ChordResult, error) {
	var sorted []counted
	err := b.locked(ctx, func() error {
		sorted = slices.Clone(b.chord(groupID).results)
		return nil
	})
	slices.SortStableFunc(sorted, func(x, y counted) int { return cmp.Compare(x.index, y.index) })
	results := make([]backend.ChordResult, len(sorted))
	for i, c := range sorted {
		results[i] = c.result
	}
	return results, err
}

// Renew implements backend.Chords.
func (b *Backend) Renew(ctx context.Context, claim backend.ChordClaim, lease time.Duration) error {
	return b.claimed(ctx, claim, func(c *chord) { c.until = time.Now().Add(lease) })
}

// Finish implements backend.Chords.
func (b *Backend) Finish(ctx context.Context, claim backend.ChordClaim, _ bool) error {
	return b.claimed(ctx, claim, func(c *chord) {
		*c = chord{done: true, parts: make(map[partKey]bool)}
	})
}

// TakeBody implements backend.ChordTaker.
func (b *Backend) TakeBody(ctx context.Context, claim backend.ChordClaim) error {
	return b.Finish(ctx, claim, false)
}

func (b *Backend) claimed(ctx context.Context, claim backend.ChordClaim, do func(*chord)) error {
	return b.locked(ctx, func() error {
		c := b.chord(claim.GroupID)
		if c.token != claim.Token {
			return backend.ErrClaimLost
		}
		do(c)
		return nil
	})
}

// SetSize implements backend.Chords.
func (b *Backend) SetSize(ctx context.Context, groupID string, size int) error {
	return b.change(ctx, groupID, func(c *chord) {
		c.size, c.done, c.token, c.until = size, false, "", time.Time{}
	})
}

// Grow implements backend.Chords.
func (b *Backend) Grow(ctx context.Context, groupID string, by int) error {
	return b.change(ctx, groupID, func(c *chord) { c.more += by })
}

func (b *Backend) change(ctx context.Context, groupID string, do func(*chord)) error {
	return b.locked(ctx, func() error {
		do(b.chord(groupID))
		return nil
	})
}
