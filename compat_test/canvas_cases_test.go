package compat_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// canvasCase is one canvas to be sent.
type canvasCase struct {
	Name      string `json:"name"`
	Canvas    *expr  `json:"canvas"`
	Redeliver bool   `json:"-"` // every message the producer sends is delivered twice
}

// shapes are the canvases of the matrix, each with tasks that succeed.
func shapes() map[string]*expr {
	all := map[string]*expr{}
	for _, part := range []map[string]*expr{linkShapes(), chainShapes(), chordShapes(), taskShapes()} {
		maps.Copy(all, part)
	}
	return all
}

func linkShapes() map[string]*expr {
	c := echo
	old, young := func() *expr { return task("old_errback") }, func() *expr { return task("new_errback") }
	return map[string]*expr{
		"one call":           c(1),
		"link":               c(1).link(c(2)),
		"links":              c(1).link(c(2), c(3)),
		"immutable link":     c(1).link(c(2).immutable()),
		"nested link":        c(1).link(c(2).link(c(3).link(c(4)))),
		"link chain":         c(1).link(chain(c(2), c(3))),
		"link group":         c(1).link(group(c(2), c(3))),
		"link chord":         c(1).link(chord(header(c(2), c(3)), c(4))),
		"links of all kinds": c(1).link(c(2), group(c(3), c(4)), chain(c(5), c(6)), chord(header(c(7), c(8)), c(9)), c(10)),
		"old errback":        c(1).errors(old()),
		"new errback":        c(1).errors(young()),
		"errbacks":           c(1).errors(old(), young(), old()).link(c(2)),
		"immutable errback":  c(1).errors(task("alone").immutable()),
		"errback group":      c(1).errors(group(old(), old())),
		"errback of errback": c(1).errors(task("bad_errback").errors(old())),
		"links and errbacks": c(1).link(c(2).errors(old())).errors(young()),
	}
}

func chainShapes() map[string]*expr {
	c := echo
	old, young := func() *expr { return task("old_errback") }, func() *expr { return task("new_errback") }
	return map[string]*expr{
		"chain":                 chain(c(1), c(2), c(3)),
		"chain of one":          chain(c(1)),
		"chain immutable":       chain(c(1), c(2).immutable(), c(3)),
		"chain of chains":       chain(chain(c(1), c(2)), chain(c(3), chain(c(4), c(5)))),
		"chain with links":      chain(c(1), c(2).link(c(3)), c(4)).link(c(5), c(6)),
		"chain errbacks":        chain(c(1), c(2), c(3).errors(young())).errors(old()),
		"chain ignored":         chain(task("ignored"), task("ignored"), c(1)),
		"group":                 group(c(1), c(2), c(3)),
		"group of one":          group(c(1)),
		"group linked":          group(c(1), c(2)).link(c(3)),
		"group errbacks":        group(c(1), c(2)).errors(old()),
		"nested groups":         group(c(1), group(c(2), group(c(3), c(4))), c(5)),
		"group of chains":       group(chain(c(1), c(2)), chain(c(3), c(4))),
		"group of chords":       group(chord(header(c(1), c(2)), c(3)), chord(header(c(4), c(5)), c(6))),
		"group in chain":        chain(c(1), group(c(2), c(3)), c(4)),
		"group first":           chain(group(c(1), c(2)), c(3), c(4)),
		"group last":            chain(c(1), c(2), group(c(3), c(4))),
		"group of one in chain": chain(c(1), group(c(2)), c(3)),
		"groups in a row":       chain(group(c(1), c(2)), group(c(3), c(4)), c(5)),
		"three groups":          chain(group(c(1), c(2)), group(c(3), c(4)), group(c(5), c(6))),
		"chains in group chain": chain(c(1), group(chain(c(2), c(3)), c(4)), chain(c(5), c(6))),
		"group with errbacks":   chain(group(c(1), c(2).errors(young())), c(3)).errors(old()),
		"empty group in chain":  chain(c(1), group(), c(2)),
	}
}

func chordShapes() map[string]*expr {
	c := echo
	old, young := func() *expr { return task("old_errback") }, func() *expr { return task("new_errback") }
	return map[string]*expr{
		"chord":                   chord(header(c(1), c(2), c(3)), c(4)),
		"chord of one":            chord(header(c(1)), c(2)),
		"chord empty":             chord(nil, c(1)),
		"chord immutable body":    chord(header(c(1), c(2)), c(3).immutable()),
		"chord ignored":           chord(header(task("ignored"), task("ignored")), c(3)),
		"chord linked":            chord(header(c(1), c(2)), c(3)).link(c(4), c(5)),
		"chord members linked":    chord(header(c(1).link(c(2)), c(3).link(c(4), c(5))), c(6)),
		"chord errbacks":          chord(header(c(1), c(2).errors(young())), c(3).errors(young())).errors(old()),
		"header chain":            chord(header(chain(c(1), c(2)), c(3)), c(4)),
		"header chains":           chord(header(chain(c(1), c(2), c(3)), chain(c(4), c(5))), c(6)),
		"header ends in group":    chord(header(chain(c(1), group(c(2), c(3))), c(4)), c(5)),
		"header groups":           chord(header(group(c(1), c(2)), c(3), group(c(4), c(5))), c(6)),
		"header chords":           chord(header(chord(header(c(1), c(2)), c(3)), chord(header(c(4), c(5)), c(6))), c(7)),
		"body chain":              chord(header(c(1), c(2)), chain(c(3), c(4), c(5))),
		"body chain errbacks":     chord(header(c(1), c(2)), chain(c(3), c(4))).errors(old(), young()),
		"body group":              chord(header(c(1), c(2)), group(c(3), c(4))),
		"body group errbacks":     chord(header(c(1), c(2)), group(c(3), c(4).errors(young()))).errors(old()),
		"body chord":              chord(header(c(1), c(2)), chord(header(c(3), c(4)), c(5))),
		"body ends in group":      chord(header(c(1), c(2)), chain(c(3), group(c(4), c(5)))),
		"chord in chain":          chain(c(1), chord(header(c(2), c(3)), c(4)), c(5)),
		"chord body chain link":   chain(chord(header(c(1), c(2)), chain(c(3), c(4))), c(5), c(6)).link(c(7)),
		"chords in a row":         chain(chord(header(c(1), c(2)), c(3)), chord(header(c(4), c(5)), c(6)), c(7)),
		"chord in chain in group": chord(header(group(chain(c(1), chord(header(c(2), c(3)), c(4)), c(5)), c(6)), c(7)), c(8)),
		"deep":                    chain(c(1), group(chain(c(2), chord(header(chain(c(3), c(4)), c(5)), c(6))), c(7)), c(8), group(c(9), c(10))),
		"chord late":              chord(header(task("late"), task("late")), task("late")),
	}
}

func taskShapes() map[string]*expr {
	c := echo
	all := map[string]*expr{
		"map":            mapping("map", 1, 2, 3),
		"map linked":     mapping("map", 1, 2).link(c(3)),
		"starmap":        mapping("starmap", []any{1, 2}, []any{3, 4}),
		"chunks":         mapping("chunks", []any{1}, []any{2}, []any{3}, []any{4}, []any{5}),
		"maps in chord":  chord(header(mapping("map", 1, 2), mapping("starmap", []any{1, 2})), c(3)),
		"map in chain":   chain(c(1), mapping("map", 1, 2), c(2)),
		"add to chord":   chord(header(task("more"), c(1)), c(2)),
		"given up":       task("giveup", "word", "ü").link(c(1)),
		"spawn":          task("spawn").link(c(1)),
		"spawn in chain": chain(task("spawn"), task("spawn"), c(1)),
		"stamped":        task("stamps").link(task("stamps").link(task("stamps"))).errors(task("old_errback")).stamp("seven"),
		"stamped twice":  chain(task("stamps").stamp([]any{1, 2}), task("stamps")).link(task("stamps")).stamp("seven"),
		"stamped groups": chain(group(task("stamps"), chain(task("stamps"), task("stamps"))), task("stamps")).stamp("seven"),
		"stamped chord":  chord(header(task("stamps"), task("stamps").link(task("stamps"))), task("stamps")).link(task("stamps")).stamp("seven"),
		"stamped map":    mapping("map", 1, 2).stamp("seven"),
		"stamped spawn":  task("spawn").stamp("seven"),
		"priority":       chain(c(1), c(2)),
	}
	all["priority"].Of[0].Options = map[string]any{"priority": 3}
	for _, by := range []string{"task", "chain", "group", "chord", "chain of group", "fail", "map", "starmap"} {
		r := func() *expr { return task("replaced", "by", by) }
		all["replace by "+by] = r()
		all["replace by "+by+" stamped"] = r().stamp("seven")
		all["replace by "+by+" linked"] = r().link(c(1), c(2)).errors(task("old_errback"))
		all["replace by "+by+" in chain"] = chain(c(1), r(), c(2), c(3))
		all["replace by "+by+" in group"] = group(r(), c(1))
		all["replace by "+by+" in chord"] = chord(header(r(), c(1), chain(c(2), r())), c(3))
		all["replace by "+by+" as body"] = chord(header(c(1), c(2)), r())
	}
	return all
}

// matrix makes the cases of every shape: as it is; with every message delivered twice;
// with all calls retried; with the first, the last and one call between them failing; and
// with the first retried until it fails.
func matrix() (cases []canvasCase) {
	all := shapes()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		add := func(variant string, redeliver bool, change func(calls []*expr)) {
			e := all[name].clone()
			change(e.calls())
			cases = append(cases, canvasCase{name + ": " + variant, e.name(), redeliver})
		}
		add("success", false, func([]*expr) {})
		add("redelivery", true, func([]*expr) {})
		last := len(all[name].calls()) - 1
		if last < 0 {
			continue // a map
		}
		add("retry", false, func(calls []*expr) {
			for _, e := range calls {
				e.becomes("canvas.flaky")
			}
		})
		add("exhausted", false, func(calls []*expr) { calls[0].becomes("canvas.exhaust") })
		for _, i := range slices.Compact([]int{0, last / 2, last}) {
			add(fmt.Sprintf("error %d", i), false, func(calls []*expr) { calls[i].becomes("canvas.fail") })
		}
	}
	return cases
}

// becomes makes a call one of another task, if it is one that only succeeds.
func (e *expr) becomes(task string) {
	if e.Task == "canvas.echo" {
		e.Task = task
	}
}

// builtinCases are those of testdata/app/canvas_builtin.py: messages for Celery's built-in
// tasks, which only Python sends.
func builtinCases() (cases []canvasCase) {
	for _, name := range []string{
		"accumulate", "accumulate index", "accumulate beyond", "chain", "group", "chord", "chunks",
		"map", "map that fails", "map of an unknown task", "starmap", "map that retries",
		"unlock", "unlock that waits", "unlock failed", "unlock chain", "unlock group", "unlock group failed", "unlock given up",
	} {
		cases = append(cases, canvasCase{Name: "builtin " + name, Canvas: &expr{Do: "builtin", Task: name}})
	}
	return cases
}

// randomCases makes canvases of bounded size.
func randomCases(seed uint64, n int) (cases []canvasCase) {
	r := gambler{rand.New(rand.NewPCG(seed, seed))}
	for i := range n {
		cases = append(cases, canvasCase{Name: fmt.Sprintf("random %d", i), Canvas: r.canvas(3).name()})
	}
	return cases
}

// gambler makes random canvases.
type gambler struct{ *rand.Rand }

func (r gambler) canvas(depth int) *expr {
	if depth == 0 || r.IntN(4) == 0 {
		return r.call()
	}
	of := make([]*expr, 1+r.IntN(3))
	for i := range of {
		of[i] = r.canvas(depth - 1)
	}
	var e *expr
	switch r.IntN(5) {
	case 0, 1:
		e = chain(of...)
	case 2, 3:
		e = group(of...)
	default:
		e = chord(of, r.canvas(depth-1))
	}
	if e.Do != "group" && r.IntN(6) == 0 {
		e.link(r.canvas(min(depth-1, 1)))
	}
	if r.IntN(8) == 0 {
		e.errors(task([]string{"old_errback", "new_errback"}[r.IntN(2)]))
	}
	return e
}

func (r gambler) call() *expr {
	e := echo(r.IntN(10))
	switch r.IntN(20) {
	case 0:
		e = task("fail")
	case 1:
		e = task("flaky")
	case 2:
		e = task("replaced", "by", []string{"task", "chain", "group", "chord"}[r.IntN(4)])
	case 3:
		e = task("ignored")
	}
	e.Immutable = r.IntN(8) == 0
	if r.IntN(8) == 0 {
		e.link(echo(r.IntN(10)))
	}
	return e
}
