package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// remains is what one case has left: by key, with names in the place of ids, the fields of
// the values. Several values of a key belong to tasks of the same name.
type remains map[string][]map[string]any

// leniency says what of a case is not the same in every run, of Celery's own workers either.
type leniency struct {
	parents bool // which task of a header is the last, and so publishes the body
	order   bool // of results that have the same index
	content bool // which of two runs of the same task is the later
	groups  bool // which group a task belongs to that was published twice
	retried bool // whether a state RETRY is stored before or after the outcome that follows
}

// lenient works out what to expect of a case.
func lenient(e *expr, mixed bool) leniency {
	// Celery looks whether a SUCCESS is there and then stores, in two steps; ours is atomic.
	l := leniency{parents: mixed || e.nestedJoin(false), retried: mixed}
	e.walk(func(e *expr) { l.order = l.order || e.Task == "canvas.more" || e.tie() })
	return l
}

// nestedJoin tells that a header has something in it that is joined itself: with the
// workers' bookkeeping beside their tasks, any of its parts may complete it.
func (e *expr) nestedJoin(inHeader bool) bool {
	if e == nil {
		return false
	}
	joins := e.Do == "chord" || e.Kwargs["by"] != nil
	if joins && inHeader {
		return true
	}
	for i, inner := range e.Of {
		header := inHeader || e.Do == "chord" || e.Do == "chain" && inner.Do == "group" && i < len(e.Of)-1
		if header && inHeader && inner.Do == "group" && e.Do == "chain" || inner.nestedJoin(header) {
			return true
		}
	}
	return e.Body.nestedJoin(inHeader)
}

// tie tells that members of a header have the same index: those of a group that ends a chain.
func (e *expr) tie() bool {
	if e.Do != "chord" && e.Do != "group" {
		return false
	}
	return slices.ContainsFunc(e.Of, func(inner *expr) bool {
		for inner.Do == "chain" && len(inner.Of) > 0 {
			if inner = inner.Of[len(inner.Of)-1]; inner.Do == "group" {
				return true
			}
		}
		return false
	})
}

// ranTwice tells that the reference ran a task of a case twice, or would have if all had
// succeeded: what follows a body that is a group does.
func ranTwice(kase *canvasCase, reference map[string]remains) bool {
	name := kase.Name
	if shape, _, ok := strings.Cut(name, ":"); ok {
		name = shape + ": success"
	}
	for key, values := range reference[name] {
		if strings.HasPrefix(key, "runs of ") && values[0]["n"] != 1.0 {
			return true
		}
	}
	return false
}

// compareCases reports the cases that have left something else than the reference.
func compareCases(t *testing.T, what string, cases []canvasCase, want, got map[string]remains, mixed bool) {
	t.Helper()
	reported := 0
	for _, kase := range cases {
		l := lenient(kase.Canvas, mixed)
		l.content = ranTwice(&kase, want)
		l.groups = mixed && kase.Redeliver
		diffs := diffRemains(want[kase.Name], got[kase.Name], l)
		if len(diffs) == 0 {
			continue
		}
		if reported++; reported > 20 {
			continue
		}
		text, err := json.Marshal(kase.Canvas)
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s: %s\n%s\n%s", what, kase.Name, text, strings.Join(diffs[:min(len(diffs), 8)], "\n"))
	}
	if reported > 20 {
		t.Errorf("%s: %d more cases differ", what, reported-20)
	}
}

func diffRemains(want, got remains, l leniency) (diffs []string) {
	keys := slices.Collect(maps.Keys(want))
	keys = slices.AppendSeq(keys, maps.Keys(got))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		w, g := want[key], got[key]
		if l.groups && strings.HasPrefix(key, "celery-taskset-meta-") {
			continue // named after who belongs to it
		}
		if len(w) != len(g) {
			diffs = append(diffs, fmt.Sprintf("  %s:\n    Python %v\n    here   %v", key, w, g))
			continue
		}
		for i := range w {
			if l.retried && g[i]["status"] == "RETRY" {
				continue // that it ran again is in "runs of"
			}
			for _, field := range slices.Sorted(maps.Keys(w[i])) {
				if !l.equal(field, w[i], g[i]) {
					diffs = append(diffs, fmt.Sprintf("  %s: %s:\n    Python %v\n    here   %v", key, field, w[i][field], g[i][field]))
				}
			}
			if len(w[i]) != len(g[i]) {
				diffs = append(diffs, fmt.Sprintf("  %s: %d fields, want %d", key, len(g[i]), len(w[i])))
			}
		}
	}
	return diffs
}

func (l leniency) equal(field string, want, got map[string]any) bool {
	switch {
	case l.retried && field == "value" && strings.Contains(fmt.Sprint(got[field]), "[RETRY "):
		return true
	case l.groups && field == "group_id":
		return true
	case l.parents && (field == "children" || field == "parent_id"):
		return true
	case field == "kwargs" && strings.HasPrefix(fmt.Sprint(want["task_id"]), "builtin chord"):
		return true // Python stores what has become of the signatures in it
	case field == "kwargs":
		return reflect.DeepEqual(plainHeaders(want[field]), plainHeaders(got[field]))
	case l.content && field != "status" && field != "(ttl)":
		return true
	case l.order:
		return reflect.DeepEqual(sorted(want[field]), sorted(got[field]))
	}
	return reflect.DeepEqual(want[field], got[field])
}

// plainHeaders writes the headers of chords in a signature as lists: in messages they are
// lists or groups, which is the same to all.
func plainHeaders(value any) any {
	switch v := value.(type) {
	case []any:
		plain := make([]any, len(v))
		for i, element := range v {
			plain[i] = plainHeaders(element)
		}
		return plain
	case map[string]any:
		plain := map[string]any{}
		for name, element := range v {
			if group, ok := element.(map[string]any); ok && name == "header" {
				element = group["kwargs"].(map[string]any)["tasks"]
			}
			plain[name] = plainHeaders(element)
		}
		return plain
	}
	return value
}

// sorted gives lists an order of their own, at all levels.
func sorted(value any) any {
	list, ok := value.([]any)
	if !ok {
		return value
	}
	ordered := make([]any, len(list))
	for i, element := range list {
		ordered[i] = sorted(element)
	}
	slices.SortFunc(ordered, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return ordered
}
