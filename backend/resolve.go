package backend

// Abilities are what a result backend can do besides what every one can; nil: it cannot.
type Abilities struct {
	Encoder Encoder
	Loader  Loader
	Groups  Groups
	Cleaner Cleaner
	Mailbox Mailbox

	Chords     Chords
	ChordParts ChordParts
	ChordLists ChordLists
	ChordEnds  ChordEnds
	ChordTaker ChordTaker
	// PollsChords: chords are left to celery.chord_unlock, and the five above are nil.
	PollsChords bool
}

// AbilitiesOf finds the abilities of a Store or Loader. One that wraps another has that one's,
// too, if it has the method Unwrap() Store or Unwrap() Loader; what both can do it does itself.
func AbilitiesOf(b any) Abilities {
	able := Abilities{Encoder: find[Encoder](b), Loader: find[Loader](b), Groups: find[Groups](b), Cleaner: find[Cleaner](b), Mailbox: find[Mailbox](b)}
	if poller := find[ChordPoller](b); poller != nil && poller.PollsChords() {
		able.PollsChords = true
		return able
	}
	able.Chords, able.ChordParts, able.ChordLists = find[Chords](b), find[ChordParts](b), find[ChordLists](b)
	able.ChordEnds, able.ChordTaker = find[ChordEnds](b), find[ChordTaker](b)
	return able
}

// find returns the outermost of some wrappers that has an ability.
func find[Ability any](outer any) (able Ability) {
	for {
		if able, ok := outer.(Ability); ok {
			return able
		}
		switch wrapper := outer.(type) {
		case interface{ Unwrap() Store }:
			outer = wrapper.Unwrap()
		case interface{ Unwrap() Loader }:
			outer = wrapper.Unwrap()
		default:
			return able
		}
	}
}
