package canvas

// or is Python's a | b: b runs after a. Depending on what they are this is a chain, or
// a chord, or a chord whose body goes on.
func pipe(a, b *node) (*node, error) {
	switch a.kind {
	case chain:
		return pipeChain(a, b)
	case group:
		if b.emptyGroup() {
			return a, nil
		}
		return groupChord(a, b), nil
	case chord:
		if b.kind != group && b.kind != chain || b.kind == group && len(b.tasks) == 1 {
			c := a.clone()
			return c, c.continueBody(b.unrolled())
		}
		return pipeTask(a, b)
	default:
		return pipeTask(a, b)
	}
}

// pipeTask makes a chain.
func pipeTask(a, b *node) (*node, error) {
	if b.kind == chain {
		steps, err := b.unchain()
		return newNode(chain, append([]*node{a}, steps...)), err
	}
	return newNode(chain, []*node{a, b.unrolled()}), nil
}

// continueBody makes next run after a chord's body.
func (n *node) continueBody(next *node) (err error) {
	if n.body == nil {
		return errNoBody
	}
	depth := 0
	for end := n.body; end != nil; depth++ {
		if depth > maxDepth {
			return ErrTooDeep
		}
		end = end.end()
	}
	n.body, err = pipe(n.body, next)
	return err
}

func pipeChain(a, b *node) (*node, error) {
	if b.emptyGroup() {
		return a, nil
	}
	b = b.unrolled()
	if b.kind == chain {
		steps, err := b.unchain()
		for _, step := range steps {
			if err == nil {
				a, err = pipe(a, step)
			}
		}
		return a, err
	}
	if b.kind != group && len(a.tasks) > 0 {
		switch last := a.tasks[len(a.tasks)-1]; {
		case last.kind == group:
			return pipeChord(a.clone(), b)
		case last.kind == chord && b.kind != chord:
			c := a.clone()
			return c, c.tasks[len(c.tasks)-1].continueBody(b)
		}
	}
	steps, err := a.unchain()
	switch {
	case err != nil || b.kind != group:
		return newNode(chain, append(steps, b)), err
	case len(steps) == 0:
		return b, nil
	case steps[len(steps)-1].kind == chord:
		return newNode(chain, steps), steps[len(steps)-1].continueBody(b)
	}
	return newNode(chain, append(steps, b)), nil
}

// end is the signature inside n that completes last, nil if n has none.
func (n *node) end() *node {
	if n.kind == chain && len(n.tasks) > 0 {
		return n.tasks[len(n.tasks)-1]
	}
	return n.body
}

// pipeChord makes a chord of the group at a chain's end. A chord before it takes that
// chord into its body.
func pipeChord(a, body *node) (*node, error) {
	last := len(a.tasks) - 1
	made := groupChord(a.tasks[last], body)
	a.tasks[last] = made
	if last > 0 && a.tasks[last-1].kind == chord {
		if err := a.tasks[last-1].continueBody(made); err != nil {
			return nil, err
		}
		a.tasks = a.tasks[:last]
	}
	return a, nil
}

// unchain returns clones of a chain's steps, the last with the chain's callbacks and
// each with its errbacks.
func (n *node) unchain() ([]*node, error) {
	var steps []*node
	for _, task := range n.tasks {
		steps = append(steps, task.clone())
	}
	if len(steps) == 0 {
		return nil, nil
	}
	for _, callback := range n.options.list("link") {
		if err := steps[len(steps)-1].link(callback); err != nil {
			return nil, err
		}
	}
	for _, errback := range n.options.list("link_error") {
		for _, step := range steps {
			if err := step.linkError(errback, false); err != nil {
				return nil, err
			}
		}
	}
	return steps, nil
}

// fold makes a chain of steps as chain(X, Y, Z) does, in a single pass.
func fold(tasks []*node) (*node, error) {
	var f folding
	for i, task := range tasks {
		if err := f.add(task, i < len(tasks)-1); err != nil {
			return nil, err
		}
	}
	if f.other != nil {
		return f.other, nil
	}
	for i := range f.steps {
		if i < len(f.steps)-1 {
			f.steps[i] = f.steps[i].clone()
		}
	}
	return newNode(chain, f.steps), nil
}

// folding is a chain in the making.
type folding struct {
	steps []*node
	other *node // what it became, when that is no chain
}

// add appends a step, cloned if it is to be. The last one is taken as it is.
func (f *folding) add(task *node, cloned bool) (err error) {
	if f.other != nil {
		f.other, err = pipe(f.other, task)
		return err
	}
	if task.emptyGroup() {
		return nil
	}
	task = task.unrolled()
	last := len(f.steps) - 1
	switch {
	case task.kind == chain:
		return f.addChain(task, cloned)
	case task.kind == group && last < 0:
		f.other = task
		return nil
	case last >= 0 && f.steps[last].kind == chord && task.kind != chord:
		return f.steps[last].continueBody(task)
	}
	if cloned {
		task = task.clone()
	}
	if last >= 0 && f.steps[last].kind == group && task.kind != group {
		f.steps[last] = groupChord(f.steps[last], task)
		return nil
	}
	f.steps = append(f.steps, task)
	return nil
}

func (f *folding) addChain(task *node, cloned bool) error {
	steps, err := task.unchain()
	if err != nil {
		return err
	}
	for i, step := range steps {
		if err := f.add(step, cloned || i < len(steps)-1); err != nil {
			return err
		}
	}
	return nil
}
