package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gomodule/redigo/redis"
)

// madeSpan is one of OpenTelemetry's, as traced.py and its Go twin write them.
type madeSpan struct {
	Name, Kind, Trace, ID, Status, Scope string
	Parent, Why                          *string
	Attributes                           map[string]any
	Events                               [][2]any
}

// TestSpans: a Go worker with oteltasks makes the spans that a Python worker makes with OpenTelemetry's
// instrumentation, and both continue what a Python producer began.
func TestSpans(t *testing.T) {
	t.Parallel()
	theirs := make(chan map[string][]string, 1)
	ours := make(chan map[string][]string, 1)
	t.Run("each", func(t *testing.T) {
		t.Run("Celery", func(t *testing.T) {
			t.Parallel()
			a := startRedis(t)
			in := a.app()
			in.module = "traced"
			in.startWorker(t)
			theirs <- a.spans(t)
		})
		t.Run("Apium", func(t *testing.T) {
			t.Parallel()
			a := startRedis(t)
			program := filepath.Join(t.TempDir(), "traced")
			command(t, "", nil, "go", "build", "-o", program, "./testdata/traced")
			launchProgram(t, program, a.app()).waitLog(t, " ready.")
			ours <- a.spans(t)
		})
	})
	if t.Failed() {
		return
	}
	want, got := <-theirs, <-ours
	for _, name := range slices.Sorted(maps.Keys(union(want, got))) {
		if !slices.Equal(want[name], got[name]) {
			t.Errorf("%s:\nPython\n  %s\nApium\n  %s", name, strings.Join(want[name], "\n  "), strings.Join(got[name], "\n  "))
		}
	}
}

// spans are those of each case of traced.py, from the trace's first span on, each with its place in the trace.
func (s *redisServer) spans(t *testing.T) map[string][]string {
	t.Helper()
	a := s.app()
	a.run(t, nil, "import traced; traced.publish()")
	var all []madeSpan
	eventually(t, patience, "all tasks are done", func() bool {
		all = nil
		for _, raw := range s.journalKeys(t, "spans") {
			var one madeSpan
			if err := json.Unmarshal([]byte(raw), &one); err != nil {
				t.Fatal(err)
			}
			all = append(all, one)
		}
		return s.idle(t, "celery") && traced(all)
	})
	lines := map[string][]string{"runtimes": s.runtimes(t, all)}
	for _, root := range all {
		if root.Parent == nil {
			lines[root.Name] = linesOf(root, all)
		}
	}
	return lines
}

// runtimes are the series of the histogram of runtimes, and how often each was recorded: once for each run.
func (s *redisServer) runtimes(t *testing.T, all []madeSpan) (lines []string) {
	t.Helper()
	runs := 0
	for _, one := range all {
		if one.Kind == "CONSUMER" {
			runs++
		}
	}
	var counts map[string]int
	eventually(t, patience, fmt.Sprintf("%d runtimes are exported", runs), func() bool {
		counts = map[string]int{}
		total := 0
		pairs, err := redis.IntMap(s.tryJournal("HGETALL", "runtimes"))
		for series, n := range pairs {
			_, series, _ = strings.Cut(series, " ") // of several processes
			counts[series] += n
			total += n
		}
		return err == nil && total >= runs
	})
	for series, n := range counts {
		var parts []any
		if err := json.Unmarshal([]byte(series), &parts); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprint(parts, " ", n))
	}
	slices.Sort(lines)
	return lines
}

// traced tells whether each message that was sent was run.
func traced(all []madeSpan) bool {
	runs := map[string]bool{}
	for _, one := range all {
		if one.Kind == "CONSUMER" && one.Parent != nil {
			runs[*one.Parent] = true
		}
	}
	for _, one := range all {
		if one.Kind == "PRODUCER" && !runs[one.ID] {
			return false
		}
	}
	return len(all) > 0
}

var (
	spanMoment = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00`)
	spanOrigin = regexp.MustCompile(`gen\d+@[^ \]]+`)
)

// linesOf are a span and those below it.
func linesOf(one madeSpan, all []madeSpan) []string {
	if one.Scope != "shop" {
		one.Scope = "of tasks"
	}
	for i, event := range one.Events {
		if attributes, ok := event[1].(map[string]any); ok {
			delete(attributes, "exception.stacktrace")
			one.Events[i][1] = attributes
		}
	}
	why := ""
	if one.Why != nil {
		why = *one.Why
	}
	line := fmt.Sprint(one.Name, " ", one.Kind, " ", one.Scope, " ", one.Status, " ", why, " ", one.Attributes, " ", one.Events)
	line = uuids.ReplaceAllString(spanOrigin.ReplaceAllString(spanMoment.ReplaceAllString(line, "MOMENT"), "ORIGIN"), "UUID")
	var below []string
	for _, other := range all {
		if other.Parent != nil && *other.Parent == one.ID && other.Trace == one.Trace {
			below = append(below, strings.Join(linesOf(other, all), "\n"))
		}
	}
	slices.Sort(below)
	lines := []string{line}
	for _, block := range below {
		for line := range strings.SplitSeq(block, "\n") {
			lines = append(lines, "  "+line)
		}
	}
	return lines
}
