package canvas

import (
	"encoding/json"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// kind is the class a signature has in Celery.
type kind int

const (
	plain kind = iota
	chain
	group
	chord
	xmap
	xstarmap
	chunks
)

// maxDepth bounds how deep signatures may be nested. Python gives up at about the same
// depth, on its recursion limit.
const maxDepth = 250

// node is a signature while it is worked on. Like Celery's, it is changed in place and
// shared; a Signature never lets its node be changed.
type node struct {
	kind      kind
	task      string
	args      []byte // raw array, nil: none
	kwargs    []byte // raw object of a plain task or map, nil: none
	options   Options
	immutable bool
	extra     []byte // members without a field, of a plain signature only
	tuple     bool   // the arguments are a tuple to Python: see same

	tasks  []*node // of a chain, a group, or a chord's header
	header *node   // a chord's header once freezing made it a group; tasks is then nil
	body   *node   // of a chord; nil if it has none
	rest   Options // a chord's kwargs except header and body
}

var subtaskTypes = map[kind]string{chain: "chain", group: "group", chord: "chord"}

// taskNames are the tasks that stand for all kinds but the plain one.
var taskNames = map[kind]string{
	chain: "celery.chain", group: "celery.group", chord: "celery.chord",
	xmap: "celery.map", xstarmap: "celery.starmap", chunks: "celery.chunks",
}

func newNode(k kind, tasks []*node) *node {
	return &node{kind: k, task: taskNames[k], tasks: tasks, tuple: true}
}

// newChord makes a chord of a header's tasks, which are cloned, and a body.
func newChord(header []*node, body *node) *node {
	c := &node{kind: chord, task: taskNames[chord], body: body, tuple: true, rest: emptyRest()}
	for _, task := range header {
		c.tasks = append(c.tasks, task.clone())
	}
	return c
}

// groupChord makes a chord of a group and a body. The group's options are lost, and
// its tasks are not cloned.
func groupChord(header, body *node) *node {
	c := newChord(nil, body)
	c.tasks = append(c.tasks, header.tasks...)
	return c
}

func emptyRest() Options { return Options{RawOpt("kwargs", []byte("{}"))} }

// headerTasks are the tasks of a chord's header in either form.
func (n *node) headerTasks() []*node {
	if n.header != nil {
		return n.header.tasks
	}
	return n.tasks
}

// emptyGroup says that n is a group without tasks, which chains pass over.
func (n *node) emptyGroup() bool { return n.kind == group && len(n.tasks) == 0 }

// emptyChain says that n is a chain without steps, which groups pass over.
func (n *node) emptyChain() bool { return n.kind == chain && len(n.tasks) == 0 }

// unrolled is the only member of a group of one, else n itself.
func (n *node) unrolled() *node {
	if n.kind == group && len(n.tasks) == 1 {
		return n.tasks[0]
	}
	return n
}

// id is the task_id option.
func (n *node) id() string { return n.options.text("task_id") }

// merge returns what a call with partial arguments and options comes to.
func (n *node) merge(args, kwargs []byte, opts Options) (mergedArgs, mergedKwargs []byte, merged Options) {
	merged = n.mergeOptions(opts)
	if n.immutable {
		return n.args, n.kwargs, merged
	}
	return joinArgs(args, n.args), joinKwargs(n.kwargs, kwargs), merged
}

// mergeOptions overrides the options, except those that must not change on the way: the
// group, which completes a chord, and stamps.
func (n *node) mergeOptions(opts Options) Options {
	fixed := map[string]bool{"group_id": true, "stamped_headers": true}
	for _, name := range stampNames(n.options) {
		fixed[name] = true
	}
	merged := n.options.clone()
	for _, opt := range opts {
		if !fixed[opt.name] || !n.options.has(opt.name) {
			merged.set(opt.name, opt.value)
		}
	}
	return merged
}

// clone copies a signature the way Celery does, which for some types loses a part and
// shares another: chains and groups lose arguments and immutability, a group shares its
// members, and a map becomes a plain call of the built-in task.
func (n *node) clone() *node { return n.cloneWith(nil, nil, nil) }

// cloneWith is clone with partial arguments and options merged in.
func (n *node) cloneWith(args, kwargs []byte, opts Options) *node {
	c := &node{kind: n.kind, task: n.task, immutable: n.immutable, tuple: true}
	c.args, c.kwargs, c.options = n.merge(args, kwargs, opts)
	switch n.kind {
	case chain, group:
		c.args, c.kwargs, c.immutable = nil, nil, false
		for _, task := range n.tasks {
			if n.kind == chain {
				task = task.clone()
			}
			c.tasks = append(c.tasks, task)
		}
		c.takeImmutable()
	case chord:
		n.cloneChord(c)
		if !n.immutable {
			c.rest.update(membersOf(kwargs))
		}
	default:
		c.kind = plain
	}
	return c
}

// takeImmutable gives a chain or group the immutability that stands in its options, where
// Celery's constructors find it.
func (n *node) takeImmutable() {
	if raw, ok := n.options.pop("immutable").(json.RawMessage); ok {
		n.immutable = string(raw) == "true"
	}
}

func (n *node) cloneChord(c *node) {
	c.kwargs, c.rest = nil, n.rest.clone()
	if n.header != nil {
		c.tasks = append(c.tasks, n.header.tasks...)
	} else {
		for _, task := range n.tasks {
			c.tasks = append(c.tasks, task.clone())
		}
	}
	if n.body != nil {
		c.body = n.body.clone()
	}
}

// copy copies everything that may be changed, so that nothing done to the copy shows.
func (n *node) copy() *node {
	if n == nil {
		return nil
	}
	c := *n
	c.options = n.options.clone()
	c.rest = n.rest.clone()
	c.header, c.body = n.header.copy(), n.body.copy()
	c.tasks = nil
	for _, task := range n.tasks {
		c.tasks = append(c.tasks, task.copy())
	}
	return &c
}

// setImmutable marks a signature; of groups the members, of chords the header.
func (n *node) setImmutable() {
	switch n.kind {
	case group, chord:
		for _, task := range n.headerTasks() {
			task.setImmutable()
		}
	default:
		n.immutable = true
	}
}

// append writes the signature as Python's json does.
func (n *node) append(dst []byte) []byte {
	sig := protocol.Signature{
		Task: n.task, Args: n.args, Kwargs: n.kwargs, Options: n.options.encode(),
		SubtaskType: subtaskTypes[n.kind], Immutable: n.immutable, Extra: n.extra,
	}
	switch n.kind {
	case chain, group:
		sig.Kwargs = append(appendNodes([]byte(`{"tasks": `), n.tasks), '}')
	case chord:
		sig.Kwargs = n.chordKwargs()
	default:
	}
	return sig.Append(dst)
}

func (n *node) chordKwargs() []byte {
	dst := n.rest.encode()
	dst = pyjson.AppendKey(dst[:len(dst)-1], "header")
	if n.header != nil {
		dst = n.header.append(dst)
	} else {
		dst = appendNodes(dst, n.tasks)
	}
	dst = pyjson.AppendKey(dst, "body")
	if n.body != nil {
		dst = n.body.append(dst)
	} else {
		dst = append(dst, null...)
	}
	return append(dst, '}')
}

func appendNodes(dst []byte, nodes []*node) []byte {
	dst = append(dst, '[')
	for _, n := range nodes {
		dst = n.append(pyjson.AppendComma(dst))
	}
	return append(dst, ']')
}
