package canvas

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apium/apium/protocol/pyjson"
)

// Apply works out what apply_async does with a signature: args go in front of its own
// arguments, unless it is immutable, and opts override its options. It returns an error
// for what Celery refuses: callbacks of a group, a chord without a body, nesting without
// bounds. Nothing must be published then.
func Apply(sig Signature, args []json.RawMessage, opts Options, env Environment) (*Plan, error) {
	if err := errors.Join(sig.err(), opts.check()); err != nil {
		return nil, err
	}
	p := &planner{env: env}
	p.plan.Result = p.apply(sig.node.copy(), arrayOf(args), nil, Options(nil).merged(opts))
	return p.done()
}

// planner makes one plan. The first error stays and ends the work.
type planner struct {
	env   Environment
	plan  Plan
	depth int
	err   error
}

func (p *planner) fail(err error) {
	if p.err == nil && err != nil {
		p.err = err
	}
}

func (p *planner) done() (*Plan, error) {
	if p.err != nil {
		return nil, p.err
	}
	return &p.plan, nil
}

// apply is apply_async of each type of signature.
func (p *planner) apply(n *node, args, kwargs []byte, opts Options) *Result {
	if p.depth++; p.depth > maxDepth {
		p.fail(ErrTooDeep)
	}
	defer func() { p.depth-- }()
	if p.err != nil {
		return nil
	}
	switch n.kind {
	case chain:
		return p.applyChain(n, args, kwargs, opts)
	case group:
		return p.applyGroup(n, args, kwargs, opts)
	case chord:
		return p.applyChord(n, args, kwargs, opts)
	case xmap, xstarmap:
		return p.applyMap(n, opts)
	case chunks:
		return p.applyChunks(n, args, kwargs, opts)
	default:
		return p.applyTask(n, args, kwargs, opts)
	}
}

func (p *planner) applyTask(n *node, args, kwargs []byte, opts Options) *Result {
	opts = opts.present().without("route_name") // as in Celery, which drops it
	args, kwargs, opts = n.merge(args, kwargs, opts)
	asList := !n.tuple && len(args) == len(n.args) // not joined with others, which makes a tuple
	return p.publish(call{name: n.task, args: args, kwargs: kwargs, opts: opts, asList: asList})
}

func (p *planner) applyChain(n *node, args, kwargs []byte, opts Options) *Result {
	opts = n.options.merged(opts)
	if n.immutable {
		args = nil
	}
	s := steps{
		tasks: n.tasks, args: joinArgs(args, n.args), kwargs: kwargs, clone: true,
		rootID: opts.text("root_id"), errbacks: opts.list("link_error"), lastID: opts.text("task_id"),
		groupID: opts.text("group_id"), chord: opts.get("chord"),
	}
	if index, ok := opts.integer("group_index"); ok {
		s.groupIndex = &index
	}
	tasks, results := p.prepareSteps(n, s)
	if len(results) == 0 || p.err != nil {
		return nil
	}
	if links := opts.list("link"); len(links) > 0 {
		tasks[0].extend("link", links)
	}
	first := tasks[len(tasks)-1]
	tasks = tasks[:len(tasks)-1]
	opts = opts.without(chainRunOptions...)
	rest := make([]any, 0, len(tasks))
	rest = append(rest, opts.list("chain")...)
	for _, task := range tasks {
		rest = append(rest, task)
	}
	opts.set("chain", rest)
	result := p.apply(first, nil, nil, opts)
	if len(tasks) == 0 {
		return result
	}
	return results[0]
}

func (p *planner) applyGroup(n *node, args, kwargs []byte, opts Options) *Result {
	addToParent := !isFalse(opts.pop("add_to_parent"))
	if opts.pop("link") != nil || opts.pop("link_error") != nil {
		p.fail(errors.New("canvas: cannot add link to group: use a chord, or link to its tasks"))
		return nil
	}
	if len(n.tasks) == 0 {
		return p.freeze(n, frozen{})
	}
	merged := n.mergeGroup(opts)
	id := merged.text("task_id")
	merged.pop("task_id")
	if id == "" {
		id = p.env.NewID()
	}
	merged.set("group_id", quote(id))
	body := merged.pop("chord")
	if n, ok := body.(*node); ok && !n.emptyGroup() {
		body = json.RawMessage(n.append(nil)) // once for all members
	}
	merged = merged.without("group_index", "add_to_parent")
	merged.set("add_to_parent", json.RawMessage("false"))

	tasks, results := p.prepared(n.tasks, id, merged.text("root_id"))
	size := 0
	for i, task := range tasks {
		waiting := body
		if waiting == nil {
			waiting = task.options.get("chord")
		}
		size += descend(task)
		if waiting != nil && i == len(tasks)-1 && p.env.Chords == ChordsCounted {
			p.plan.Steps = append(p.plan.Steps, SetChordSize{id, size})
		}
		merged.set("chord", waiting)
		p.apply(task, args, kwargs, merged.clone())
	}
	result := &Result{ID: id, Group: true, Members: results}
	if len(results) == 1 && results[0].Group {
		result = results[0]
	}
	if addToParent {
		p.plan.Children = append(p.plan.Children, result)
	}
	return result
}

// mergeGroup overrides a group's options, but not its group_id.
func (n *node) mergeGroup(opts Options) Options {
	for _, name := range []string{"group_id", "stamped_headers"} {
		if n.options.has(name) {
			opts = opts.without(name)
		}
	}
	return n.options.merged(opts)
}

// prepared returns copies of a group's tasks, with those of nested groups in their
// place, each frozen.
func (p *planner) prepared(tasks []*node, groupID, rootID string) (all []*node, results []*Result) {
	for i, task := range tasks {
		task = task.clone()
		switch {
		case task.kind == group:
			nested, nestedResults := p.prepared(task.tasks, groupID, rootID)
			all, results = append(all, nested...), append(results, nestedResults...)
		case task.emptyChain():
		default:
			all = append(all, task)
			results = append(results, p.freeze(task, frozen{groupID: groupID, rootID: rootID, groupIndex: &i}))
		}
	}
	return all, results
}

// descend counts the parts that a member adds to a chord: what completes last counts.
func descend(n *node) int {
	switch n.kind {
	case group:
		sum := 0
		for _, task := range n.tasks {
			sum += descend(task)
		}
		return sum
	case chain:
		for i := len(n.tasks) - 1; i >= 0; i-- {
			if size := descend(n.tasks[i]); size > 0 {
				return size
			}
		}
		return 0
	case chord:
		if n.body == nil {
			return 0
		}
		return descend(n.body)
	default:
		return 1
	}
}

func (p *planner) applyMap(n *node, opts Options) *Result {
	merged := n.mergeOptions(opts.present())
	route := merged.text("route_name")
	merged.pop("route_name")
	if route == "" {
		route = n.mappedTask()
	}
	return p.publish(call{name: n.task, kwargs: n.kwargs, opts: merged, route: route})
}

// mappedTask is the name of the task a map applies.
func (n *node) mappedTask() string {
	raw, _ := membersOf(n.kwargs).get("task").(json.RawMessage)
	return membersOf(raw).text("task")
}

// applyChunks publishes a group of starmaps. As in Celery, what was set on the chunks
// themselves is lost.
func (p *planner) applyChunks(n *node, args, kwargs []byte, opts Options) *Result {
	members := membersOf(n.kwargs)
	size, ok := members.integer("n")
	if !ok || size < 1 {
		p.fail(fmt.Errorf("canvas: chunks of %s items", encode(members.get("n"))))
		return nil
	}
	items, ok := members.get("it").(json.RawMessage)
	if !ok || pyjson.Kind(items) != '[' {
		p.fail(errors.New("canvas: chunks of what is no list"))
		return nil
	}
	all := newNode(group, nil)
	for it := listOf(items); len(it) > 0; {
		part := it[:min(size, len(it))]
		it = it[len(part):]
		all.tasks = append(all.tasks, &node{
			kind: xstarmap, task: taskNames[xstarmap], immutable: true, tuple: true,
			kwargs: Options{{name: "task", value: members.get("task")}, {name: "it", value: part}}.encode(),
		})
	}
	opts = opts.clone()
	opts.set("route_name", quote(n.mappedTask()))
	return p.apply(all, args, kwargs, opts)
}

func isFalse(value any) bool {
	raw, ok := value.(json.RawMessage)
	return ok && string(raw) == "false"
}
