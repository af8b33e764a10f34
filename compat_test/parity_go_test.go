package compat_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// paritySeed decides which tasks have Go handlers in the column "mixed".
var paritySeed = flag.Uint64("parity.seed", 0, "seed of the tasks of TestParity that have Go handlers; 0: another one each time")

// parityColumn is a way to run a world with our worker.
type parityColumn struct {
	name    string
	goTasks string // a regular expression: which tasks have Go handlers
}

// registered is how the names of tasks stand in testdata/worker/parity.go.
var registered = regexp.MustCompile(`reg\.Register\("(shop[\w.]+)"`)

// goColumns are: all tasks that can be written in Go have Go handlers, and a random part of them has.
func goColumns(t *testing.T) []parityColumn {
	t.Helper()
	source, err := os.ReadFile("testdata/worker/parity.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range registered.FindAllStringSubmatch(string(source), -1) {
		names = append(names, regexp.QuoteMeta(match[1]))
	}
	if len(names) == 0 {
		t.Fatal("no Go handlers")
	}
	seed := *paritySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number does
	}
	random := rand.New(rand.NewPCG(seed, seed))
	part := slices.DeleteFunc(slices.Clone(names), func(string) bool { return random.IntN(2) == 0 })
	t.Logf("-parity.seed=%d gives Go handlers to %s", seed, strings.Join(part, ", "))
	only := func(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }
	return []parityColumn{{"in Go", only(names)}, {"mixed", only(part)}}
}

// notInGo are the scenarios that are not compared with Go handlers.
var notInGo = []struct{ where, reason string }{
	{"plain/(starts a.*|asyncio|surroundings|logging set-up|speaks|sends an event|.*eager inside|waits .*|recursion|keyboard interrupt|own task)", "what they are about is Python"},
	{"plain/returns (tuple|keys|set|generator|exception|class|delta)", "Go has no such value"},
	{"plain/fails (without repr|with hidden class|with no Exception|with a cause|and cannot pickle)", "Go has no such error"},
	{"plain/fails with (OSError|UnicodeError)", "their constructors, in Python, make something else of their arguments"},
	{"protocol 1/(chain|chord|link|retry|)", "what Go handlers publish is protocol 2"},
	{"(results in msgpack|compressed results)/progress", "the Go handler reads its record itself, as JSON"},
	{"limits/terminate USR1", "no signal reaches a Go handler"},
}

// compares tells whether a scenario is compared in a column.
func (c parityColumn) compares(world, scenario string) bool {
	return c.name == "apium" || !slices.ContainsFunc(notInGo, func(n struct{ where, reason string }) bool {
		return matches(n.where, world+"/"+scenario)
	})
}

// view is what a column is compared by. Of what Go handlers leave, it does not say that
// they have run in the worker's own process, nor where in their source an error was made.
func (c parityColumn) view(left map[string]any) map[string]any {
	if c.name == "apium" || left == nil {
		return left
	}
	seen, _ := withoutPlace("", left).(map[string]any)
	return seen
}

var (
	processOf = regexp.MustCompile(`(/)(ForkPoolWorker-N|MainProcess)\]`)
	shown     = regexp.MustCompile(`(?s)\n(.*\n)?Traceback \(most recent call last\):\n.*`)
)

func withoutPlace(at string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		seen := map[string]any{}
		for key, element := range v {
			seen[key] = withoutPlace(key, element)
		}
		return seen
	case []any:
		seen := make([]any, len(v))
		for i, element := range v {
			seen[i] = withoutPlace(at, element)
		}
		return seen
	case string:
		switch {
		case at == "log":
			v = shown.ReplaceAllString(processOf.ReplaceAllString(v, "${1}…]"), "")
		case strings.HasSuffix(at, "traceback") && v != "":
			lines := strings.Split(strings.TrimRight(v, "\n"), "\n")
			return "…\n" + lines[len(lines)-1]
		}
		return v
	}
	return value
}
