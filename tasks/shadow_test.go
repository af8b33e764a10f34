package tasks_test

import (
	"context"
	"testing"

	"github.com/apium/apium/tasks"
)

func TestShadowed(t *testing.T) {
	type key struct{}
	if tasks.Shadowed(context.WithValue(t.Context(), key{}, 1)) {
		t.Error("any context is that of a shadow")
	}
	if !tasks.Shadowed(context.WithValue(tasks.ShadowContext(t.Context()), key{}, 1)) {
		t.Error("what is derived from the context of a shadow is not")
	}
	reg := tasks.NewRegistry()
	reg.Register("app.silent", func() {})
	reg.Register("app.says", tasks.Shadowed, tasks.Shadowable())
	for name, want := range map[string]bool{"app.silent": false, "app.says": true} {
		if entry, _ := reg.Lookup(name); entry.Shadowable() != want {
			t.Errorf("%s: %v, want %v", name, !want, want)
		}
	}
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { tasks.Shadowed(ctx) }); n > 0 {
		t.Errorf("to ask allocates %v times", n)
	}
}
