package settings

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/apium/apium/internal/fnmatch"
)

// Route is one of task_routes: which tasks it is for, and options of apply_async that
// concern where their messages go and how. What is zero was not given.
type Route struct {
	Task   string // a task's name, or a pattern of Python's fnmatch, which is what has a star
	Regexp string // in place of Task: a regular expression, matched at the start of a name as Python's re.match does

	Queue        string
	Exchange     string
	ExchangeType string
	RoutingKey   string
	Priority     *int
	DeliveryMode int
	Serializer   string
	Compression  string
	Retry        *bool
	RetryPolicy  *RetryPolicy
}

func routeFields(r *Route) map[string]any {
	return map[string]any{
		"queue":         &r.Queue,
		"exchange":      &r.Exchange,
		"exchange_type": oneOf{&r.ExchangeType, exchangeTypes},
		"routing_key":   &r.RoutingKey,
		"priority":      priority{&r.Priority},
		"delivery_mode": deliveryMode{&r.DeliveryMode},
		"serializer":    oneOf{&r.Serializer, serializers},
		"compression":   oneOf{&r.Compression, compressions},
		"retry":         &r.Retry,
		"retry_policy":  policy{&r.RetryPolicy},
		"mandatory":     nothing{}, // RabbitMQ's
		"immediate":     nothing{},
		"declare":       nothing{},
	}
}

// Routes is task_routes. Of the routes that a task's name matches, one that names it wins,
// and else the first. Celery's lists of several mappings come to the same: what an earlier one
// has for a task hides what later ones have.
type Routes []Route

// decode takes a mapping of names and globs to routes, or a list of such mappings
// and of lists of pairs. In a pair a regular expression may stand for the name:
// [{"regex": "feed\\..*"}, "feeds"].
func (r *Routes) decode(d *decoder, value any) {
	*r = nil
	each(d, value, func(v any) {
		var table Routes
		switch v := v.(type) {
		case object:
			for _, m := range v {
				d.in(m.key, func() { table.add(d, Route{Task: m.key}, m.value) })
			}
		case []any:
			for i, pair := range v {
				d.in(strconv.Itoa(i+1), func() { table.addPair(d, pair) })
			}
		default:
			d.bad("must be a mapping of tasks to routes, or a list of pairs, not %s", describe(v))
		}
		earlier := r.matcher()
		for _, route := range table {
			if _, hidden := earlier.lookup(route.Task); route.isPattern() || !hidden {
				*r = append(*r, route)
			}
		}
	})
}

// encode writes a mapping where it can be one, and else a list of one list of pairs.
func (r *Routes) encode() any {
	if *r == nil {
		return absent{}
	}
	table, pairs := object{}, []any{}
	for _, route := range *r {
		options := encodeMembers(routeFields(&route))
		if table.has(route.Task) || route.Regexp != "" {
			table = nil
		}
		if table != nil {
			table = append(table, member{route.Task, options})
		}
		var name any = route.Task
		if route.Regexp != "" {
			name = encodeMembers(map[string]any{"regex": &route.Regexp, "task": &route.Task})
		}
		pairs = append(pairs, []any{name, options})
	}
	if table != nil {
		return table
	}
	return []any{pairs}
}

func (r *Routes) addPair(d *decoder, value any) {
	pair, ok := value.([]any)
	if !ok || len(pair) != 2 {
		d.bad("must be a pair of task and route, not %s", describe(value))
		return
	}
	switch name := pair[0].(type) {
	case string:
		d.in(name, func() { r.add(d, Route{Task: name}, pair[1]) })
	case object:
		var route Route
		d.members(name, map[string]any{"regex": &route.Regexp})
		d.in("regex "+route.Regexp, func() { r.add(d, route, pair[1]) })
	default:
		d.bad("must begin with a task's name, or {\"regex\": …}, not %s", describe(name))
	}
}

// add enters a route for the tasks that it names already.
func (r *Routes) add(d *decoder, route Route, value any) {
	if route.Task == "" && route.Regexp == "" {
		d.warn("has no effect: a route needs a task, or a regular expression")
	}
	_, err := route.pattern()
	if err != nil {
		d.bad("the pattern cannot be used in Go: %v", err)
	}
	if !routeOptions(d, &route, value) || err != nil {
		return
	}
	same := func(other Route) bool { return other.Task == route.Task && !other.isPattern() }
	if i := slices.IndexFunc(*r, same); i >= 0 && !route.isPattern() { // the later one counts, as in a dict
		(*r)[i] = route
		return
	}
	*r = append(*r, route)
}

func routeOptions(d *decoder, route *Route, value any) bool {
	if queue, ok := value.(string); ok {
		route.Queue = queue
		return true
	}
	given, ok := value.(object)
	if !ok {
		d.bad("a route is a queue's name or a mapping, not %s", describe(value))
		return false
	}
	d.members(given, routeFields(route))
	return true
}

// isPattern tells a pattern, for Celery what has a star, from the name of a task.
func (r *Route) isPattern() bool { return r.Regexp != "" || strings.Contains(r.Task, "*") }

// pattern returns what names are matched with; nil is the name itself.
func (r *Route) pattern() (*regexp.Regexp, error) {
	switch {
	case r.Regexp != "": // Python's re, matched at the start of the name
		return regexp.Compile(`^(?:` + strings.ReplaceAll(r.Regexp, `\Z`, `\z`) + `)`)
	case r.isPattern():
		return regexp.Compile(fnmatch.Translate(r.Task))
	}
	return nil, nil
}

// matcher finds routes.
type matcher struct {
	names    map[string]Route
	patterns []routePattern
}

type routePattern struct {
	re    *regexp.Regexp
	route Route
}

// matcher leaves out patterns that cannot be used: Resolve and Load report them.
func (r *Routes) matcher() *matcher {
	m := &matcher{names: map[string]Route{}}
	for _, route := range *r {
		re, err := route.pattern()
		name := route.Task
		route.Task, route.Regexp = "", ""
		switch {
		case err != nil:
		case re != nil:
			m.patterns = append(m.patterns, routePattern{re, route})
		default:
			m.names[name] = route
		}
	}
	return m
}

// lookup returns the options for a task, without saying for which tasks they are.
func (m *matcher) lookup(task string) (route Route, known bool) {
	if route, known = m.names[task]; known {
		return route, true
	}
	for _, p := range m.patterns {
		if p.re.MatchString(task) {
			return p.route, true
		}
	}
	return Route{}, false
}
