package broker

// Abilities are what a consumer can do that not every consumer can; nil: it cannot.
type Abilities struct {
	Leaser       Leaser
	Joiner       Joiner
	Prefetcher   Prefetcher
	Unclaimer    Unclaimer
	Chooser      Chooser
	Returner     Returner
	Bypassers    Bypassers
	Parker       Parker
	Unparker     Unparker
	Recaller     Recaller
	ParkedLister ParkedLister
	Queues       Queues
	Mover        Mover
	Concluders   Concluders
	Starter      Starter
}

// AbilitiesOf finds the abilities of a consumer. One that wraps another has that one's, too,
// if it has the method Unwrap() Consumer; what both can do it does itself.
func AbilitiesOf(c Consumer) Abilities {
	return Abilities{
		Leaser:       find[Leaser](c),
		Joiner:       find[Joiner](c),
		Prefetcher:   find[Prefetcher](c),
		Unclaimer:    find[Unclaimer](c),
		Chooser:      find[Chooser](c),
		Returner:     find[Returner](c),
		Bypassers:    find[Bypassers](c),
		Parker:       find[Parker](c),
		Unparker:     find[Unparker](c),
		Recaller:     find[Recaller](c),
		ParkedLister: find[ParkedLister](c),
		Queues:       find[Queues](c),
		Mover:        find[Mover](c),
		Concluders:   find[Concluders](c),
		Starter:      find[Starter](c),
	}
}

// PublisherAbilities are what a publisher can do that not every publisher can; nil: it cannot.
type PublisherAbilities struct {
	AllOrNone   AllOrNone
	Broadcaster Broadcaster
	Replier     Replier
	Asker       Asker
	Slots       Slots
	ChordEnder  ChordEnder
}

// PublisherAbilitiesOf finds the abilities of a publisher, and those of the one it wraps if it
// has the method Unwrap() Publisher.
func PublisherAbilitiesOf(p Publisher) PublisherAbilities {
	return PublisherAbilities{
		AllOrNone:   find[AllOrNone](p),
		Broadcaster: find[Broadcaster](p),
		Replier:     find[Replier](p),
		Asker:       find[Asker](p),
		Slots:       find[Slots](p),
		ChordEnder:  find[ChordEnder](p),
	}
}

// PublisherAs returns a publisher, or the one it wraps, as another type; nil: it is none. So a
// consumer finds out whether a publisher is of its own broker.
func PublisherAs[T any](p Publisher) T { return find[T](p) }

// find returns the outermost of some wrappers that has an ability.
func find[Ability, Wrapped any](outer Wrapped) (able Ability) {
	for {
		if able, ok := any(outer).(Ability); ok {
			return able
		}
		wrapper, ok := any(outer).(interface{ Unwrap() Wrapped })
		if !ok {
			return able
		}
		outer = wrapper.Unwrap()
	}
}
