package control

import (
	"slices"
	"strings"
	"testing"
)

// What a command line makes of its words must be what the command takes.
func TestTheTableAgreesWithItself(t *testing.T) {
	t.Parallel()
	m := &Mailbox{}
	entries := m.entries()
	aliases := 0
	for _, c := range m.panel() {
		takes := entries[c.Name].ParamNames()
		for _, p := range c.params {
			if !slices.Contains(takes, p.name) {
				t.Errorf("%s takes no %s, which the command line gives", c.Name, p.name)
			}
		}
		if c.variadic != "" && !slices.Contains(takes, c.variadic) {
			t.Errorf("%s takes no %s, which the command line gives", c.Name, c.variadic)
		}
		if hasArguments := len(c.params) > 0 || c.variadic != ""; hasArguments != (c.Usage != "") {
			t.Errorf("%s has the usage %q", c.Name, c.Usage)
		}
		if c.alias != "" {
			aliases++
			if entries[c.alias] != entries[c.Name] {
				t.Errorf("%s does not run %s", c.alias, c.Name)
			}
		}
	}
	if len(entries) != len(m.panel())+aliases {
		t.Errorf("%d commands under %d names", len(m.panel()), len(entries))
	}
	byKind := func(a, b Command) int {
		if a.Inspect != b.Inspect {
			return map[bool]int{true: -1, false: 1}[a.Inspect]
		}
		return strings.Compare(a.Name, b.Name)
	}
	if shown := Panel(); !slices.IsSortedFunc(shown, byKind) || slices.ContainsFunc(shown, func(c Command) bool { return c.hidden }) {
		t.Error("people are shown commands out of order, or such as are not for them")
	}
}
