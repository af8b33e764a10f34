package compat_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/apium/apium/protocol/canvas"
)

// expr is a canvas as canvas_send.py and build read it.
type expr struct {
	Do        string         `json:"do"` // call, chain, group, chord, map, starmap, chunks
	Task      string         `json:"task,omitempty"`
	Args      []any          `json:"args,omitempty"`
	Kwargs    map[string]any `json:"kwargs,omitempty"`
	Tag       string         `json:"tag,omitempty"`
	Immutable bool           `json:"immutable,omitempty"`
	Options   map[string]any `json:"options,omitempty"`
	Of        []*expr        `json:"of,omitempty"`
	Body      *expr          `json:"body,omitempty"`
	It        []any          `json:"it,omitempty"`
	N         int            `json:"n,omitempty"`
	Links     []*expr        `json:"link,omitempty"`
	Errors    []*expr        `json:"errors,omitempty"`
	Stamps    map[string]any `json:"stamps,omitempty"`
}

func echo(args ...any) *expr { return &expr{Do: "call", Task: "canvas.echo", Args: args} }

func task(name string, kwargs ...any) *expr {
	e := &expr{Do: "call", Task: "canvas." + name}
	for i := 0; i < len(kwargs); i += 2 {
		if e.Kwargs == nil {
			e.Kwargs = map[string]any{}
		}
		e.Kwargs[kwargs[i].(string)] = kwargs[i+1]
	}
	return e
}

func chain(of ...*expr) *expr              { return &expr{Do: "chain", Of: of} }
func group(of ...*expr) *expr              { return &expr{Do: "group", Of: of} }
func chord(of []*expr, body *expr) *expr   { return &expr{Do: "chord", Of: of, Body: body} }
func header(of ...*expr) []*expr           { return of }
func mapping(do string, it ...any) *expr   { return &expr{Do: do, Task: "canvas.echo", It: it, N: 2} }
func (e *expr) immutable() *expr           { e.Immutable = true; return e }
func (e *expr) link(links ...*expr) *expr  { e.Links = links; return e }
func (e *expr) errors(errs ...*expr) *expr { e.Errors = errs; return e }

func (e *expr) stamp(value any) *expr { e.Stamps = map[string]any{"customer": value}; return e }

// walk calls f with the canvas and everything in it, in the order in which it is built.
func (e *expr) walk(f func(*expr)) {
	if e == nil {
		return
	}
	f(e)
	for _, list := range [][]*expr{e.Of, {e.Body}, e.Links, e.Errors} {
		for _, inner := range list {
			inner.walk(f)
		}
	}
}

// calls are the plain calls of the canvas, errbacks aside, in the order of walk.
func (e *expr) calls() (list []*expr) {
	errbacks := map[*expr]bool{}
	e.walk(func(e *expr) {
		for _, errback := range e.Errors {
			errback.walk(func(e *expr) { errbacks[e] = true })
		}
	})
	e.walk(func(e *expr) {
		if e.Do == "call" && !errbacks[e] {
			list = append(list, e)
		}
	})
	return list
}

// name tags all calls: a, b, c, …
func (e *expr) name() *expr {
	n := 0
	e.walk(func(e *expr) {
		if len(e.Task) > 0 {
			e.Tag = string(rune('a'+n%26)) + fmt.Sprint(n / 26)[:min(n/26, 1)]
			n++
		}
	})
	return e
}

func (e *expr) clone() *expr {
	if e == nil {
		return nil
	}
	c := *e
	c.Body = e.Body.clone()
	for _, list := range []*[]*expr{&c.Of, &c.Links, &c.Errors} {
		var cloned []*expr
		for _, inner := range *list {
			cloned = append(cloned, inner.clone())
		}
		*list = cloned
	}
	return &c
}

// build makes the signature in Go.
func (e *expr) build(prefix string) canvas.Signature {
	sig := e.plain(prefix)
	for _, name := range slices.Sorted(maps.Keys(e.Options)) {
		sig = sig.Set(canvas.Opt(name, e.Options[name]))
	}
	for _, link := range e.Links {
		sig = sig.Link(link.build(prefix))
	}
	for _, errback := range e.Errors {
		sig = sig.LinkError(errback.build(prefix))
	}
	if e.Stamps != nil {
		sig = sig.Stamp(e.Stamps)
	}
	return sig
}

func (e *expr) plain(prefix string) canvas.Signature {
	var of []canvas.Signature
	for _, inner := range e.Of {
		of = append(of, inner.build(prefix))
	}
	kwargs := map[string]any{}
	for name, value := range e.Kwargs {
		kwargs[name] = value
	}
	kwargs["tag"] = prefix + "|" + e.Tag
	single := canvas.Sig(e.Task, e.Args...).Kw(kwargs)
	switch e.Do {
	case "chain":
		return canvas.Chain(of...)
	case "group":
		return canvas.Group(of...)
	case "chord":
		return canvas.Chord(of, e.Body.build(prefix))
	case "map":
		return canvas.Map(single, e.It)
	case "starmap":
		return canvas.Starmap(single, e.It)
	case "chunks":
		return canvas.Chunks(single, e.It, e.N)
	}
	if e.Immutable {
		return single.Immutable()
	}
	return single
}
