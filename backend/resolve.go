package backend

// Abilities are what a result backend can do besides what every one can; nil: it cannot.
type Abilities struct {
	Encoder Encoder
	Loader  Loader
	Chords  Chords
	Groups  Groups
}

// AbilitiesOf finds the abilities of a Store or Loader. One that wraps another has that one's,
// too, if it has the method Unwrap() Store or Unwrap() Loader; what both can do it does itself.
func AbilitiesOf(b any) Abilities {
	return Abilities{
		Encoder: find[Encoder](b),
		Loader:  find[Loader](b),
		Chords:  find[Chords](b),
		Groups:  find[Groups](b),
	}
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
