package publish

import (
	"context"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol/canvas"
)

// Backend keeps what has to be known of chords and groups before their tasks are published.
type Backend struct {
	Chords backend.Chords // nil: parts are not counted
	Parts  backend.ChordParts
	Lists  backend.ChordLists
	Groups backend.Groups // nil: no groups are kept
}

// BackendOf tells what a result backend keeps.
func BackendOf(able backend.Abilities) Backend {
	return Backend{Chords: able.Chords, Parts: able.ChordParts, Lists: able.ChordLists, Groups: able.Groups}
}

// Keeping is how a result backend finds out that the header of a chord is done.
func Keeping(able backend.Abilities) canvas.ChordKeeping {
	switch {
	case able.PollsChords:
		return canvas.ChordsPolled
	case able.ChordLists != nil:
		return canvas.ChordsListed
	default:
		return canvas.ChordsCounted
	}
}

// Able tells whether Write can write.
func (b *Backend) Able() bool {
	return b.Chords != nil && b.Groups != nil && (b.Parts != nil || b.Lists != nil)
}

// Write writes one of a batch's Writes. It may be repeated.
func (b *Backend) Write(ctx context.Context, step canvas.Step) error {
	switch step := step.(type) {
	case canvas.SetChordSize:
		return b.Parts.SetSize(ctx, step.GroupID, step.Size)
	case canvas.GrowChord:
		return b.Parts.Grow(ctx, step.GroupID, 1)
	case canvas.ListChord:
		return b.Lists.ListChord(ctx, step.GroupID, step.Size, step.Members)
	case canvas.SaveGroup:
		return b.Groups.SaveGroup(ctx, step.GroupID, step.Record)
	}
	return nil
}
