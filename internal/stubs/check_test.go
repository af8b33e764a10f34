package stubs_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/internal/stubs"
	"github.com/apium/apium/tasks"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	literal := func(source string, value any) object {
		return object{"source": source, "literal": true, "value": value}
	}
	price := []object{
		{"name": "order", "kind": "positional"},
		{"name": "lines", "kind": "positional", "default": literal("[1, {}]", []any{1, object{}})},
		{"name": "rate", "kind": "keyword_only", "default": object{"source": "Decimal('1')"}},
	}
	text, err := json.Marshal(object{"tasks": []object{{"name": "shop.price", "place": "shop.py:3", "parameters": price}, {"name": "shop.odd", "problem": "no"}}})
	if err != nil {
		t.Fatal(err)
	}
	project, err := stubs.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	three := func(_, _, _ any) {}
	for params, want := range map[string]string{
		"order, lines=[1,{}], *, rate=None": "",
		"order, lines=[1,{}], *, rate=7":    "",
		"order, lines=(1, {}), *, rate":     "rate has another default",
		"order, lines=[2, {}], *, rate=0":   "lines has another default",
		"order=1, lines=[1, {}], *, rate=0": "order has another default",
		"order, lines=[1, {}], rate=0":      "rate is passed differently",
		"order, /, lines=[1, {}], *, rate":  "order is passed differently",
		"order, line=[1, {}], *, rate=0":    "parameter 2 is lines in Python and line in Go",
	} {
		reg := tasks.NewRegistry()
		reg.Register("shop.price", three, tasks.Params(params))
		reg.Register("shop.odd", three)
		wantDifference(t, stubs.Check(project, entries(t, reg)), params, want)
	}
	for _, c := range []struct {
		name   string
		fn     any
		params string
		want   string
	}{
		{"shop.price", func(_, _ any) {}, "order, lines=[1, {}]", "rate is not in Go"},
		{"shop.price", func(_, _, _, _ any) {}, "order, lines=[1, {}], *, rate=1, due=1", "due is not in Python"},
		{"shop.prise", func() {}, "", "shop.prise: the app has no such task. Is it shop.price?"},
	} {
		reg := tasks.NewRegistry()
		reg.Register(c.name, c.fn, tasks.Params(c.params))
		wantDifference(t, stubs.Check(project, entries(t, reg)), c.params, c.want)
	}
}

func wantDifference(t *testing.T, got []string, what, want string) {
	t.Helper()
	if want == "" && len(got) > 0 || want != "" && !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, want) }) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
