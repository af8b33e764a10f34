package publish

import (
	"context"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol/canvas"
)

// Backend keeps what has to be known of chords and groups before their tasks are published.
type Backend struct {
	Chords backend.Chords // nil: there are no chords
	Groups backend.Groups // nil: no groups are kept
}

// BackendOf tells what a result backend keeps.
func BackendOf(able backend.Abilities) Backend {
	return Backend{Chords: able.Chords, Groups: able.Groups}
}

// Able tells whether Write can write.
func (b *Backend) Able() bool { return b.Chords != nil && b.Groups != nil }

// Write writes one of a batch's Writes. It may be repeated.
func (b *Backend) Write(ctx context.Context, step canvas.Step) error {
	switch step := step.(type) {
	case canvas.SetChordSize:
		return b.Chords.SetSize(ctx, step.GroupID, step.Size)
	case canvas.GrowChord:
		return b.Chords.Grow(ctx, step.GroupID, 1)
	case canvas.SaveGroup:
		return b.Groups.SaveGroup(ctx, step.GroupID, step.Record)
	}
	return nil
}
