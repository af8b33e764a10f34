package settings

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/apium/apium/internal/fnmatch"
)

// Routes is task_routes: tables that are asked one after the other.
type Routes []routeTable

// routeTable is what Celery calls a MapRoute: names first, then patterns in order.
type routeTable struct {
	names    map[string]Options
	patterns []routePattern
}

type routePattern struct {
	re      *regexp.Regexp
	options Options
}

// lookup returns the options of the first table that knows the task.
func (r *Routes) lookup(task string) Options {
	for _, table := range *r {
		if options, ok := table.names[task]; ok {
			return options
		}
		for _, p := range table.patterns {
			if p.re.MatchString(task) {
				return p.options
			}
		}
	}
	return Options{}
}

// decode takes a mapping of names and globs to routes, or a list of such mappings
// and of lists of pairs. In a pair a regular expression may stand for the name:
// [{"regex": "feed\\..*"}, "feeds"].
func (r *Routes) decode(d *decoder, value any) {
	*r = nil
	each(d, value, func(v any) {
		table := routeTable{names: map[string]Options{}}
		switch v := v.(type) {
		case object:
			for _, m := range v {
				d.in(m.key, func() { table.add(d, m.key, m.value) })
			}
		case []any:
			for i, pair := range v {
				d.in(strconv.Itoa(i+1), func() { table.addPair(d, pair) })
			}
		default:
			d.bad("must be a mapping of tasks to routes, or a list of pairs, not %s", describe(v))
		}
		*r = append(*r, table)
	})
}

func (t *routeTable) addPair(d *decoder, value any) {
	pair, ok := value.([]any)
	if !ok || len(pair) != 2 {
		d.bad("must be a pair of task and route, not %s", describe(value))
		return
	}
	switch name := pair[0].(type) {
	case string:
		d.in(name, func() { t.add(d, name, pair[1]) })
	case object:
		var expr string
		d.members(name, map[string]any{"regex": &expr})
		d.in("regex "+expr, func() { t.addPattern(d, fromPython(expr), pair[1]) })
	default:
		d.bad("must begin with a task's name, or {\"regex\": …}, not %s", describe(name))
	}
}

// add enters a name, or a glob, which for Celery is what has a star.
func (t *routeTable) add(d *decoder, name string, value any) {
	if strings.Contains(name, "*") {
		t.addPattern(d, fnmatch.Translate(name), value)
		return
	}
	if options, ok := routeOptions(d, value); ok {
		t.names[name] = options
	}
}

func (t *routeTable) addPattern(d *decoder, expr string, value any) {
	re, err := regexp.Compile(expr)
	if err != nil {
		d.bad("the pattern cannot be used in Go: %v", err)
	}
	if options, ok := routeOptions(d, value); ok && err == nil {
		t.patterns = append(t.patterns, routePattern{re, options})
	}
}

func routeOptions(d *decoder, value any) (Options, bool) {
	var o Options
	if queue, ok := value.(string); ok {
		o.Queue = queue
		return o, true
	}
	given, ok := value.(object)
	if !ok {
		d.bad("a route is a queue's name or a mapping, not %s", describe(value))
		return o, false
	}
	d.members(given, o.fields())
	return o, true
}

// fromPython makes a pattern of Python's re, matched at the start of the name, one of Go.
func fromPython(expr string) string {
	return `^(?:` + strings.ReplaceAll(expr, `\Z`, `\z`) + `)`
}
