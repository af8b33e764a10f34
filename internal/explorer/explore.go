package explorer

import (
	"crypto/sha256"
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	// Deeper says how much is explored beyond what the gate does.
	Deeper = flag.Int("deeper", 0, "1: explore the larger models, too; more: and each operation, and time, may come so many times more, less 1")

	path = flag.String("path", "", "take these steps alone, and show what there is after each: the name of a model, and steps, divided by semicolons")
)

// A State is a moment of a history.
type State[S any] interface {
	Clone() S                // which steps change
	Append(to []byte) []byte // what tells it apart from others
}

// A Step is one command of one actor, or something that it decides, or time that passes.
type Step[S any] struct {
	Name string
	Take func(S) error // changes a copy; the error is a guarantee that is broken
}

// A Model is what is explored.
type Model[S State[S]] struct {
	Name  string
	First S
	Steps func(S) []Step[S] // all that may come next
	Check func(S) error     // of every state
	End   func(S) error     // of those after which nothing comes
}

// Explored is what came of an exploration.
type Explored struct {
	States, Transitions int
	Broken              error // the first guarantee that is broken
	Path                []string
}

// trail is how a state was reached.
type trail struct {
	before *trail
	step   string
}

func (t *trail) steps() (names []string) {
	for ; t != nil; t = t.before {
		names = append(names, t.step)
	}
	slices.Reverse(names)
	return names
}

// Explore goes through all states that can be reached, depth first.
func (m *Model[S]) Explore() (e Explored) {
	type reached struct {
		state S
		trail *trail
	}
	var text []byte
	digest := func(s S) [sha256.Size]byte {
		text = s.Append(text[:0])
		return sha256.Sum256(text)
	}
	seen := map[[sha256.Size]byte]bool{digest(m.First): true}
	open := []reached{{state: m.First}}
	for len(open) > 0 {
		s := open[len(open)-1]
		open = open[:len(open)-1]
		e.States++
		all := m.Steps(s.state)
		if len(all) == 0 {
			if err := m.End(s.state); err != nil {
				e.Broken, e.Path = err, s.trail.steps()
				return e
			}
		}
		for _, next := range all {
			e.Transitions++
			after := reached{s.state.Clone(), &trail{s.trail, next.Name}}
			err := next.Take(after.state)
			if err == nil {
				err = m.Check(after.state)
			}
			if err != nil {
				e.Broken, e.Path = err, after.trail.steps()
				return e
			}
			if d := digest(after.state); !seen[d] {
				seen[d] = true
				open = append(open, after)
			}
		}
	}
	return e
}

// Test explores a model, and fails if it breaks a guarantee. With -path, which it then names, it takes its steps alone.
func (m *Model[S]) Test(t *testing.T) {
	t.Helper()
	if *path != "" {
		steps := strings.Split(*path, "; ")
		if steps[0] == m.Name {
			m.replay(t, steps[1:])
		}
		return
	}
	e := m.Explore()
	t.Logf("%d states, %d transitions", e.States, e.Transitions)
	if e.Broken != nil {
		t.Errorf("%v\nagain: go test -run '^%s$' -v -args -path %s", e.Broken, t.Name(), strconv.Quote(m.Name+"; "+strings.Join(e.Path, "; ")))
	}
}

// replay takes the steps of a path.
func (m *Model[S]) replay(t *testing.T, path []string) {
	t.Helper()
	s := m.First
	t.Logf("at first\n%s", s.Append(nil))
	for _, name := range path {
		all := m.Steps(s)
		names := make([]string, len(all))
		for i := range all {
			names[i] = all[i].Name
		}
		n := slices.Index(names, name)
		if n < 0 {
			t.Fatalf("%q cannot be done, but %q", name, names)
		}
		s = s.Clone()
		err := all[n].Take(s)
		t.Logf("%s\n%s", name, s.Append(nil))
		if err == nil {
			err = m.Check(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(m.Steps(s)) == 0 {
		if err := m.End(s); err != nil {
			t.Fatal(err)
		}
	}
}
