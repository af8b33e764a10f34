package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apium/apium/internal/nearest"
)

// Sources are where settings come from. The later ones win.
type Sources struct {
	// Exported is what scripts/export_settings.py writes of an app, in JSON, and App is what messages
	// call it; nil: there is no app.
	Exported []byte
	App      string
	File     string   // path of a settings file; "": none
	Environ  []string // NAME=value, as os.Environ has it
	Args     []string // name=value, as Celery takes them behind its options
	Options  []Option // of the command line
}

// Option is a setting given by an option of the command line.
type Option struct {
	Flag    string // as the user writes it: --broker-transport-options
	Setting string
	Value   string
}

// Load reads settings. An error is an *Error that lists every problem.
func Load(from Sources) (*Settings, error) {
	l := loader{given: map[*entry]given{}}
	if from.Exported != nil {
		l.inPython = true
		doc, err := parseJSON(from.Exported)
		l.document(from.App, doc, err)
	}
	if from.File != "" {
		doc, err := readFile(from.File)
		l.document(from.File, doc, err)
	}
	l.environ(from.Environ)
	l.args(from.Args)
	for _, o := range from.Options {
		l.option(o)
	}
	return l.settings()
}

// loader collects what the sources give, before it is decoded.
type loader struct {
	decoder
	given map[*entry]given
}

type given struct {
	value  any
	origin Origin
}

// document reads a settings file, or what was exported. Of Celery's keys those that are unknown
// have no effect, as in Celery; of ours they are mistakes.
func (l *loader) document(path string, doc object, err error) {
	if err != nil {
		l.problems = append(l.problems, Problem{Origin: Origin{Source: path}, Message: err.Error()})
		return
	}
	layer := map[*entry]given{}
	var unknown []string
	for _, m := range doc {
		l.origin = Origin{Source: path, Key: m.key}
		e, ok := lookup(m.key)
		switch {
		case m.key == notExported:
			l.exportWarnings(m.value)
		case ok:
			l.add(layer, e, m.value)
		case strings.HasPrefix(strings.ToLower(m.key), ownPrefix):
			l.misspelt(nearest.Name(m.key, knownLike(m.key)), "unknown setting")
		default: // an app's own, or misspelt: Celery does not look
			unknown = append(unknown, m.key)
		}
	}
	l.origin = Origin{Source: path}
	l.warnUnknown("setting", unknown, func(name string) string {
		if _, is := (&TransportOptions{}).fields()[name]; is {
			return "it belongs in broker_transport_options"
		}
		return meant(nearest.Name(name, knownLike(name)))
	})
	l.overlay(layer)
}

// notExported is the key under which scripts/export_settings.py lists what it could
// not write down.
const notExported = "_not_exported"

func (l *loader) exportWarnings(value any) {
	o, ok := l.object(value)
	if !ok {
		return
	}
	for _, m := range o {
		l.warnings = append(l.warnings, fmt.Sprintf("%s: %s was not exported: %v", l.origin.Source, m.key, m.value))
	}
}

// add enters a setting into a layer, in which it may stand under one name only, or
// with the same value. Transport options add up.
func (l *loader) add(layer map[*entry]given, e *entry, value any) {
	if before, twice := layer[e]; twice {
		if !addsUp(e) && !reflect.DeepEqual(loose(before.value), loose(value)) {
			l.bad("contradicts %s, which is the same setting", before.origin.Key)
			return
		}
		if a, ok := before.value.(object); ok && addsUp(e) {
			if b, ok := value.(object); ok {
				value = a.merge(b)
			}
		}
	}
	layer[e] = given{value, l.origin}
}

func addsUp(e *entry) bool {
	return e.name == "broker_transport_options" || e.name == "result_backend_transport_options"
}

// overlay lets a layer win over those before it.
func (l *loader) overlay(layer map[*entry]given) {
	for e, g := range layer {
		if a, ok := l.given[e].value.(object); ok && addsUp(e) {
			if b, ok := g.value.(object); ok {
				g.value = a.merge(b)
			}
		}
		l.given[e] = g
	}
}

// decode turns what was given into settings.
func (l *loader) decode() *Settings {
	s := Default()
	all := entries()
	for i := range all {
		e := &all[i]
		g, ok := l.given[e]
		if !ok {
			continue
		}
		l.origin = g.origin
		s.given[e.name], s.changed[e.name] = g, !isDefault(e, g.value)
		if e.field != nil {
			l.assign(e.field(s), g.value)
			continue
		}
		if s.changed[e.name] && e.ignored != "" && (!e.byPython || !l.inPython) {
			l.warn("has no effect: %s", e.ignored)
		}
	}
	return s
}

// isDefault compares loosely: what Python takes for false is a missing value, too.
func isDefault(e *entry, value any) bool {
	falsy := []any{nil, false, int64(0), 0.0, ""}
	if slices.ContainsFunc(falsy, func(f any) bool { return reflect.DeepEqual(f, value) }) || isEmpty(value) {
		return slices.ContainsFunc(falsy, func(f any) bool { return reflect.DeepEqual(f, e.def) }) || isEmpty(e.def)
	}
	return reflect.DeepEqual(loose(e.def), loose(value))
}

func isEmpty(value any) bool {
	switch v := value.(type) {
	case object:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// loose makes 2 and 2.0 equal, and mappings whose members stand in another order.
func loose(value any) any {
	if i, ok := value.(int64); ok {
		return float64(i)
	}
	switch v := plain(value).(type) {
	case map[string]any:
		for key, e := range v {
			v[key] = loose(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = loose(e)
		}
		return v
	default:
		return v
	}
}
