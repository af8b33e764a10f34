package backendtest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/backend"
)

// Features are what an implementation promises besides storing records: the abilities of these
// names in package backend.
type Features struct {
	Loads   bool // Loader
	Chords  bool // Chords and ChordParts
	Groups  bool // Groups
	Encodes bool // Encoder
	// Verbatim says that documents are kept as they are, and may be of any shape.
	Verbatim bool
}

// Backend is what a test works with. Abilities that were not promised are nil.
type Backend struct {
	records
	backend.Loader
	backend.Chords
	backend.ChordParts
	backend.Groups
}

// records is a backend.Store: a field of that name would hide the method.
type records interface{ backend.Store }

// Run runs the tests that concern what an implementation promises, and one that it promises
// what it can do. open returns an empty backend; Run closes it.
func Run(t *testing.T, promised Features, open func(t *testing.T) backend.Store) {
	t.Run("abilities", func(t *testing.T) {
		t.Parallel()
		b := open(t)
		defer b.Close()
		able := backend.AbilitiesOf(b)
		got := Features{
			Loads: able.Loader != nil, Chords: able.Chords != nil && able.ChordParts != nil, Groups: able.Groups != nil, Encodes: able.Encoder != nil,
			Verbatim: promised.Verbatim,
		}
		if diff := cmp.Diff(promised, got); diff != "" {
			t.Errorf("abilities (-promised +there):\n%s", diff)
		}
	})
	for _, test := range tests {
		if !test.needs.in(promised) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := open(t) // which may start a server
			defer b.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			able := backend.AbilitiesOf(b)
			test.run(t, ctx, Backend{records: b, Loader: able.Loader, Chords: able.Chords, ChordParts: able.ChordParts, Groups: able.Groups})
		})
	}
}

// in tells whether all of these are promised.
func (f Features) in(promised Features) bool {
	return (promised.Loads || !f.Loads) && (promised.Chords || !f.Chords) && (promised.Groups || !f.Groups) && (promised.Verbatim || !f.Verbatim)
}

var (
	loads  = Features{Loads: true}
	chords = Features{Chords: true}
)

// tests are all tests, with what they need.
var tests = []struct {
	name  string
	needs Features
	run   func(*testing.T, context.Context, Backend)
}{
	{"load what was stored", loads, loadStored},
	{"groups", loads, groups},
	{"no record", loads, noRecord},
	{"success is final", loads, successIsFinal},
	{"other states are not", loads, otherStates},
	{"records of other shapes", Features{Loads: true, Verbatim: true}, otherShapes},
	{"the record is not kept", loads, recordNotKept},
	{"wait for what is there", loads, waitThere},
	{"wait past unready states", loads, waitPastUnready},
	{"many waiters", loads, manyWaiters},
	{"wait is interrupted", loads, waitInterrupted},
	{"close", loads, closeEndsWaits},
	{"concurrent use", loads, concurrent},
	{"load and forget many", loads, loadMany},
	{"watch", loads, watch},
	{"watch slowly", loads, watchSlow},
	{"wait for all", loads, waitAll},
	{"group record", Features{Groups: true}, groupRecord},
	{"chord in order", chords, chordInOrder},
	{"chord with duplicates", chords, chordDuplicates},
	{"chord with a task twice", chords, chordSameTask},
	{"chord taken over", chords, chordTakenOver},
	{"chord finished late", chords, chordLate},
	{"chord that failed", chords, chordFailed},
	{"sizes of chords", chords, chordSizes},
	{"chords together", chords, chordsTogether},
	{"chord counted at once", chords, chordRace},
	{"the part is not kept", chords, partNotKept},
}
