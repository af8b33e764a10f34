package canvas

import (
	"encoding/json"
	"errors"
	"strconv"
)

// frozen is what freezing gives a signature that has not got it: its place in the
// workflow, known before anything is published.
type frozen struct {
	id, rootID, parentID, groupID string
	groupIndex                    *int
	chord                         any // the body that waits for this task
}

// freeze gives a signature, and everything in it that will run, its id, and returns
// where the results will be. It changes n in place.
func (p *planner) freeze(n *node, f frozen) *Result {
	if p.depth++; p.depth > maxDepth {
		p.fail(ErrTooDeep)
	}
	defer func() { p.depth-- }()
	if p.err != nil {
		return &Result{}
	}
	switch n.kind {
	case chain:
		_, results := p.prepareSteps(n, steps{
			tasks: n.tasks, args: n.args, rootID: f.rootID, lastID: f.id,
			groupID: f.groupID, chord: f.chord, groupIndex: f.groupIndex,
		})
		if len(results) == 0 {
			p.fail(errEmptyChain)
			return &Result{}
		}
		return results[0]
	case group:
		return p.freezeGroup(n, f)
	case chord:
		return p.freezeChord(n, f)
	default:
		return p.freezeTask(n, f)
	}
}

func (p *planner) freezeTask(n *node, f frozen) *Result {
	id := n.id()
	if id == "" {
		if id = f.id; id == "" {
			id = p.env.NewID()
		}
		n.options.set("task_id", quote(id))
	}
	if f.rootID != "" {
		n.options.set("root_id", quote(f.rootID))
	}
	if f.parentID != "" {
		n.options.set("parent_id", quote(f.parentID))
	}
	if !n.options.has("reply_to") {
		n.options.set("reply_to", quote(p.env.ReplyTo))
	}
	if f.groupID != "" && !n.options.has("group_id") {
		n.options.set("group_id", quote(f.groupID))
	}
	n.setMembership(f)
	return &Result{ID: id}
}

func (n *node) setMembership(f frozen) {
	// An empty group is false to Python, and so is no chord's body here.
	if body, ok := f.chord.(*node); f.chord != nil && (!ok || !body.emptyGroup()) {
		n.options.set("chord", f.chord)
	}
	if f.groupIndex != nil {
		n.options.set("group_index", json.RawMessage(strconv.Itoa(*f.groupIndex)))
	}
}

// freezeGroup flattens nested groups. Their members come out reversed, in front of what
// follows, and the results keep that order.
func (p *planner) freezeGroup(n *node, f frozen) *Result {
	id := n.id()
	if id == "" {
		id = p.env.NewID()
		n.options.set("task_id", quote(id))
	}
	if f.groupID != "" {
		n.options.set("group_id", quote(f.groupID))
	}
	n.setMembership(f)
	n.options.setDefault("root_id", quote(f.rootID))
	n.options.setDefault("parent_id", quote(f.parentID))
	member := frozen{
		rootID: n.options.text("root_id"), parentID: n.options.text("parent_id"),
		groupID: f.groupID, chord: f.chord,
	}
	result := &Result{ID: id, Group: true}
	var tasks []*node
	for left := n.tasks; len(left) > 0 && p.err == nil; {
		task := left[0].clone()
		left = left[1:]
		switch {
		case task.kind == group:
			left = append(reversed(task.tasks), left...)
		case task.emptyChain():
		default:
			index := len(tasks)
			member.groupIndex = &index
			tasks = append(tasks, task)
			result.Members = append(result.Members, p.freeze(task, member))
		}
	}
	n.tasks = tasks
	return result
}

func (p *planner) freezeChord(n *node, f frozen) *Result {
	if n.header == nil {
		n.header, n.tasks = newNode(group, n.tasks), nil
	}
	var body any
	if n.body != nil {
		body = n.body
	}
	header := p.freeze(n.header, frozen{parentID: f.parentID, rootID: f.rootID, chord: body})
	n.options.set("task_id", quote(n.header.id()))
	if n.body == nil {
		p.fail(errNoBody)
		return header
	}
	result := p.freeze(n.body, frozen{
		id: f.id, rootID: f.rootID, chord: f.chord, groupID: f.groupID, groupIndex: f.groupIndex,
	})
	result.first().Parent = header
	return result
}

var (
	errNoBody     = errors.New("canvas: a chord without a body")
	errEmptyChain = errors.New("canvas: an empty chain")
)

func reversed(nodes []*node) []*node {
	turned := make([]*node, len(nodes))
	for i, n := range nodes {
		turned[len(nodes)-1-i] = n
	}
	return turned
}
