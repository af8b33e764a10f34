package canvas

// steps says what a chain is prepared with.
type steps struct {
	tasks        []*node
	args, kwargs []byte // partial arguments of the first step
	rootID       string
	errbacks     []any
	lastID       string // the id of the last step
	groupID      string // the group, chord and index are the last step's
	chord        any
	groupIndex   *int
	clone        bool // the steps are worked on as copies: the chain is going to run
}

// preparation is the walk through the steps of a chain, from the last to the first.
type preparation struct {
	*planner
	steps
	left     []*node // the steps not walked yet, in order
	tasks    []*node // those walked, the last step of the chain first
	results  []*Result
	prevTask *node
	prevRes  *Result
}

// prepareSteps flattens a chain and freezes its steps (_chain.prepare_steps). It returns
// them in reverse, as they travel, with the results.
func (p *planner) prepareSteps(n *node, s steps) ([]*node, []*Result) {
	w := preparation{planner: p, steps: s, left: append([]*node(nil), s.tasks...)}
	w.tidyHead()
	for len(w.left) > 0 && p.err == nil {
		w.step()
	}
	if len(w.results) > 0 {
		n.options.set("task_id", quote(w.results[0].ID))
	} else {
		n.options.set("task_id", quote(s.lastID))
	}
	if s.clone {
		for _, task := range w.tasks {
			stripHeaderLinks(task)
		}
	}
	return w.tasks, w.results
}

// tidyHead makes the first step one that takes the partial arguments: nested chains
// are spliced in, and empty groups that something follows are left out.
func (w *preparation) tidyHead() {
	var stripped *node
	for len(w.left) > 0 {
		head := w.left[0]
		if head.kind == chain {
			if w.clone {
				head = head.clone()
			}
			w.left = append(append([]*node(nil), head.tasks...), w.left[1:]...)
			continue
		}
		head = head.unrolled()
		w.left[0] = head
		if len(w.left) == 1 || !head.emptyGroup() {
			break
		}
		stripped, w.left = head, w.left[1:]
	}
	if stripped != nil && len(w.left) == 0 {
		w.left = []*node{stripped}
	}
}

func (w *preparation) step() {
	last := len(w.left) - 1
	task := w.left[last]
	w.left = w.left[:last]
	isFirst, isLast := last == 0, len(w.tasks) == 0

	task = task.unrolled()
	if task.emptyGroup() && (!isFirst || w.prevTask != nil) {
		return
	}
	if w.clone && task.kind == chord && ledByTask(task.body) {
		w.push(w.unrollBody(task))
		return
	}
	switch {
	case w.clone && isFirst:
		task = task.cloneWith(w.args, w.kwargs, nil)
	case w.clone:
		task = task.clone()
	case isFirst:
		task.args = joinArgs(w.args, task.args)
	}
	if task.kind == chain {
		w.push(task.tasks)
		return
	}
	if task.kind == group && w.prevTask != nil {
		task = w.upgrade(task)
	}
	w.walked(task, isLast)
}

func (w *preparation) push(tasks []*node) {
	w.left = append(w.left[:len(w.left):len(w.left)], tasks...)
}

// upgrade makes a group and the step after it a chord.
func (w *preparation) upgrade(task *node) *node {
	last := len(w.tasks) - 1
	bodyRes := w.results[last]
	w.tasks, w.results = w.tasks[:last], w.results[:last]
	made := groupChord(task, w.prevTask)
	if !w.prevRes.Group { // else the chord has no id of its own, as in Celery
		made.options.set("task_id", quote(w.prevRes.ID))
	}
	made.options.set("root_id", quote(w.rootID))
	w.prevTask = nil
	if last > 0 {
		w.prevTask = w.tasks[last-1]
		// What follows hangs on the body's result. It has to hang on the chord's
		// instead, or the body's id would be in the tree twice.
		node := w.results[last-1]
		for node != nil && node.Parent != bodyRes {
			node = node.Parent
		}
		if node != nil {
			node.Parent, w.prevRes = nil, node
		}
	}
	return made
}

// walked freezes a step and links it with the one after it.
func (w *preparation) walked(task *node, isLast bool) {
	place := frozen{rootID: w.rootID}
	if isLast {
		place = frozen{
			id: w.lastID, rootID: w.rootID, groupID: w.groupID, chord: w.chord, groupIndex: w.groupIndex,
		}
	}
	res := w.freeze(task, place)
	if w.err != nil {
		return
	}
	if w.prevTask != nil && w.prevRes != nil && w.prevRes.Parent == nil {
		w.prevRes.Parent = res
	}
	for _, errback := range w.errbacks {
		w.fail(task.linkError(errback, w.env.ErrbacksOnHeader))
		if task.kind == chord && task.body != nil {
			w.fail(task.body.linkError(errback, w.env.ErrbacksOnHeader))
		}
	}
	w.tasks, w.results = append(w.tasks, task), append(w.results, res)
	w.prevTask, w.prevRes = task, res
	if task.kind == chord {
		w.prevRes = res.first()
	}
}

// ledByTask says whether a chord's body is a chain that can go on in the chain around
// it. After a group at its head the steps would have to run once for each member.
func ledByTask(body *node) bool {
	return body != nil && body.kind == chain && len(body.tasks) > 0 && body.tasks[0].kind != group
}

// chainRunOptions are those a chain uses up itself; the others go to its first step.
var chainRunOptions = []string{
	"chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id",
}

// unrollBody gives a chord with a body that is a chain as a chord and steps: every header
// task carries the body, and need not carry all the rest.
func (p *planner) unrollBody(n *node) []*node {
	c := n.clone()
	rest, err := c.body.unchain()
	p.fail(err)
	if err != nil {
		return nil
	}
	c.body = rest[0].cloneWith(nil, nil, c.body.options.without(chainRunOptions...))
	return append([]*node{c}, rest[1:]...)
}

// unrollChords does that to the chords in a chain, in place.
func (p *planner) unrollChords(n *node) {
	left := append([]*node(nil), n.tasks...)
	n.tasks = nil
	for len(left) > 0 && p.err == nil {
		task := left[0]
		left = left[1:]
		if task.kind == chain {
			task = task.clone()
			p.unrollChords(task)
		}
		if task.kind == chord && ledByTask(task.body) {
			left = append(p.unrollBody(task), left...)
		} else {
			n.tasks = append(n.tasks, task)
		}
	}
}

// stripHeaderLinks removes the copies of a chord's body that freezing gave the header
// tasks: the chord carries the body, and they get it again when the header is sent.
func stripHeaderLinks(n *node) {
	if n.kind == chord {
		for _, task := range n.headerTasks() {
			clearChord(task)
		}
		if n.header != nil {
			n.header.options.pop("chord")
		}
		if n.body != nil {
			stripHeaderLinks(n.body)
		}
	}
	for _, task := range n.headerTasks() {
		stripHeaderLinks(task)
	}
}

// clearChord takes the chord from the tasks whose end it waits for.
func clearChord(n *node) {
	n.options.pop("chord")
	tasks := n.tasks
	switch {
	case n.kind == chord:
		tasks = nil
		if n.body != nil {
			tasks = []*node{n.body}
		}
	case n.kind == chain && len(tasks) > 0:
		tasks = tasks[len(tasks)-1:]
	}
	for _, task := range tasks {
		clearChord(task)
	}
}
