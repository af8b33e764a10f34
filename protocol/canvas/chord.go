package canvas

import "encoding/json"

// applyChord is apply_async and run of a chord: the body gets the options of the call
// and its id, the header tasks get the body, and then the header is published.
func (p *planner) applyChord(n *node, args, kwargs []byte, opts Options) *Result {
	if n.body == nil {
		p.fail(errNoBody)
		return nil
	}
	if n.immutable {
		args = nil
	}
	args = joinArgs(args, n.args)
	if inherited, ok := n.rest.get("kwargs").(json.RawMessage); ok {
		kwargs = joinKwargs(inherited, kwargs)
	}
	id := opts.text("task_id")
	opts = opts.without("task_id", "producer", "publisher", "connection", "router", "result_cls")
	delay := popDelay(&opts)
	links := Options{}
	for _, name := range []string{"link", "link_error"} {
		if opts.has(name) {
			links.set(name, opts.pop(name))
		}
	}
	body := n.body.cloneWith(nil, nil, opts.without("parent_id"))
	header := n.headerGroup(p)

	merged := n.options.merged(opts).merged(links)
	for _, opt := range popDelay(&merged) {
		delay.setDefault(opt.name, opt.value)
	}
	if own := merged.text("task_id"); id == "" {
		id = own
	}
	// The rest of a call that is for run itself and not for the messages.
	call := merged.without("task_id", "interval", "countdown", "max_retries", "eager")
	return p.runChord(n, header, body, args, kwargs, id, delay, merged, call)
}

// popDelay takes what delays a call: of a chord it delays the header.
func popDelay(opts *Options) Options {
	delay := Options{}
	for _, name := range []string{"countdown", "eta"} {
		if value := opts.pop(name); value != nil {
			delay.set(name, value)
		}
	}
	return delay
}

// headerGroup is a chord's header as a group of its own, which has its id if the
// chord has one.
func (n *node) headerGroup(p *planner) *node {
	if n.header != nil {
		return n.header.clone()
	}
	header := newNode(group, append([]*node(nil), n.tasks...))
	id := n.id()
	if id == "" {
		id = p.env.NewID()
	}
	header.options.set("task_id", quote(id))
	return header
}

// runChord is run of a chord, with the options given to it, of which call are those for messages.
func (p *planner) runChord(n, header, body *node, args, kwargs []byte, id string, delay, given, call Options) *Result {
	groupID, rootID := header.id(), body.options.text("root_id")
	if groupID == "" {
		groupID = p.env.NewID()
	}
	opts := n.options.merged(call)
	popDelay(&opts)
	if len(opts) > 0 {
		opts.pop("task_id")
		var err error
		if body, err = addBodyCallbacks(body, &opts, p.env.ErrbacksOnHeader); err != nil {
			p.fail(err)
			return nil
		}
		body.options.update(opts.without("parent_id"))
	}
	if body.kind == chain {
		p.unrollChords(body)
	}
	if id == "" {
		id = p.env.NewID()
	}
	bodyResult := p.freeze(body, frozen{id: id, groupID: groupID, rootID: rootID})
	stripHeaderLinks(body)
	opts = opts.without("chain", "chord", "task_id")

	header.options.set("task_id", quote(groupID))
	headerResult := p.freezeGroup(header, frozen{groupID: groupID, chord: body, rootID: rootID})
	if p.err != nil {
		return nil
	}
	if len(header.tasks) == 0 {
		p.apply(body, []byte("[[]]"), nil, nil)
	} else {
		p.announce(header, body, headerResult, given)
		opts.update(delay)
		opts.set("task_id", quote(groupID))
		headerResult = p.apply(header, args, kwargs, opts)
	}
	bodyResult.Parent = headerResult
	return bodyResult
}

// nested says whether a member of the group is a group.
func (r *Result) nested() bool {
	for _, member := range r.Members {
		if member.Group {
			return true
		}
	}
	return false
}
