package tasks_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/tasks"
)

// A Go handler comes before what another executor would run, whichever is registered first.
func TestRegisterFor(t *testing.T) {
	t.Parallel()
	reg := tasks.NewRegistry()
	handler := func() int { return 1 }
	reg.Register("app.first", handler)
	if reg.RegisterFor("python", "app.first") {
		t.Error("the Go handler was replaced")
	}
	if !reg.RegisterFor("python", "app.both", tasks.AcksLate(true)) || !reg.RegisterFor("python", "app.theirs", tasks.AcksLate(true)) {
		t.Error("a task that nobody has was refused")
	}
	reg.Register("app.both", handler)
	for name, executor := range map[string]string{"app.first": "", "app.both": "", "app.theirs": "python"} {
		entry, ok := reg.Lookup(name)
		if !ok || entry.Executor != executor {
			t.Fatalf("%s: executor %q, want %q", name, entry.Executor, executor)
		}
		result, err := entry.Call(t.Context(), &tasks.Request{Task: &protocol.Task{}})
		if executor == "" && (result != 1 || err != nil) {
			t.Errorf("%s = %v, %v", name, result, err)
		}
		if executor != "" && (err == nil || !strings.Contains(err.Error(), "no Go handler") || !*entry.Options.AcksLate) {
			t.Errorf("%s = %v, %v with %+v", name, result, err, entry.Options)
		}
	}
	if names := reg.Names(); !slices.Equal(names, []string{"app.both", "app.first", "app.theirs"}) {
		t.Errorf("names = %q", names)
	}
	replacement := map[string][]tasks.Option{"app.first": nil, "app.new": {tasks.MaxRetries(7)}}
	if err := reg.ReplaceFor("python", replacement); err != nil {
		t.Fatal(err)
	}
	if names := reg.Names(); !slices.Equal(names, []string{"app.both", "app.first", "app.new"}) {
		t.Errorf("replaced: names = %q", names)
	}
	first, _ := reg.Lookup("app.first")
	fresh, _ := reg.Lookup("app.new")
	if first.Executor != "" || fresh.Executor != "python" || *fresh.Options.MaxRetries != 7 {
		t.Errorf("replaced: %+v, %+v", first, fresh)
	}
	if reg.ReplaceFor("", nil) == nil || reg.ReplaceFor("python", map[string][]tasks.Option{"": nil, "app.newer": nil}) == nil {
		t.Error("Go handlers, or a task without a name, is no error")
	}
	if names := reg.Names(); !slices.Equal(names, []string{"app.both", "app.first", "app.new"}) {
		t.Errorf("after errors: names = %q", names)
	}
	defer func() {
		if recover() == nil {
			t.Error("a task without a name was registered")
		}
	}()
	reg.RegisterFor("python", "")
}
