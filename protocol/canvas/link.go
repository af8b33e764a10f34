package canvas

import "encoding/json"

// link adds a callback where Celery does: a chord's go to its body, a group's to its
// first task, which cannot give it the group's results, hence immutable.
func (n *node) link(callback any) error {
	switch {
	case n.kind == chord && n.body != nil:
		return n.body.link(callback)
	case n.kind == group && len(n.tasks) > 0:
		sig, err := decodeValue(callback)
		if err != nil {
			return err
		}
		sig = sig.clone()
		sig.setImmutable()
		return n.tasks[0].link(sig)
	}
	n.appendTo("link", callback)
	return nil
}

// linkError adds an errback: to all tasks of a group, to the body of a chord and, with
// onHeader (task_allow_error_cb_on_chord_header), to the tasks of its header too.
func (n *node) linkError(errback any, onHeader bool) error {
	switch n.kind {
	case group:
		sig, err := decodeValue(errback)
		if err != nil {
			return err
		}
		for _, task := range n.tasks {
			if err := task.linkError(sig.clone(), onHeader); err != nil {
				return err
			}
		}
		return nil
	case chord:
		return n.linkChordError(errback, onHeader)
	default:
		n.appendTo("link_error", errback)
		return nil
	}
}

func (n *node) linkChordError(errback any, onHeader bool) error {
	sig, err := decodeValue(errback)
	if err != nil {
		return err
	}
	if onHeader {
		header := n.tasks
		if n.header != nil {
			header = []*node{n.header}
		}
		for _, task := range header {
			// As in Celery this is an option, and what it does depends on the type.
			fixed := sig.cloneWith(nil, nil, Options{Opt("immutable", true)})
			if err := task.linkError(fixed, onHeader); err != nil {
				return err
			}
		}
	}
	for _, task := range n.tasks { // not those of a frozen header, as in Celery
		if task.kind == chord {
			if err := task.linkError(sig, onHeader); err != nil {
				return err
			}
		}
	}
	if n.body == nil {
		return nil
	}
	return n.body.linkError(sig, onHeader)
}

// appendTo adds a value to the list an option is, unless it is there.
func (n *node) appendTo(option string, value any) {
	list := n.options.list(option)
	for _, other := range list {
		if same(other, value) {
			n.options.set(option, list)
			return
		}
	}
	n.options.set(option, append(list[:len(list):len(list)], value))
}

// extend adds values to the list an option is.
func (n *node) extend(option string, values []any) {
	list := n.options.list(option)
	n.options.set(option, append(list[:len(list):len(list)], values...))
}

// addBodyCallbacks moves the callbacks of a chord's call to its body, of which it
// returns a copy if there are any (_chord._add_body_callbacks).
func addBodyCallbacks(body *node, opts *Options, onHeader bool) (*node, error) {
	callbacks, errbacks := listOf(opts.pop("link")), listOf(opts.pop("link_error"))
	if len(callbacks)+len(errbacks) == 0 {
		return body, nil
	}
	body = body.cloneWithMembers()
	for _, callback := range callbacks {
		sig, err := decodeValue(callback)
		if err != nil {
			return nil, err
		}
		if err := body.link(sig.cloneWithMembers()); err != nil {
			return nil, err
		}
	}
	for _, errback := range errbacks {
		if body.kind != group {
			body.appendTo("link_error", errback)
			continue
		}
		sig, err := decodeValue(errback)
		if err != nil {
			return nil, err
		}
		if err := body.linkBodyError(sig, true, onHeader); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// linkBodyError links an errback to the tasks of a group that is a chord's body, and to
// the bodies of chords in it. A group that runs as one and has errbacks of its own gets
// it there: they would override those of its tasks.
func (n *node) linkBodyError(errback *node, runsAsGroup, onHeader bool) error {
	switch {
	case n.kind == group && runsAsGroup && n.options.get("link_error") != nil:
		n.appendTo("link_error", errback.clone())
	case n.kind == group:
		for _, task := range n.tasks {
			if err := task.linkBodyError(errback, false, onHeader); err != nil {
				return err
			}
		}
	case n.kind == chord && n.body != nil:
		return n.body.linkBodyError(errback, true, onHeader)
	default:
		return n.linkError(errback.clone(), onHeader)
	}
	return nil
}

// cloneWithMembers is clone that also clones what link changes.
func (n *node) cloneWithMembers() *node {
	c := n.clone()
	if c.kind == group {
		for i, task := range c.tasks {
			c.tasks[i] = task.cloneWithMembers()
		}
	}
	if c.body != nil {
		c.body = c.body.cloneWithMembers()
	}
	return c
}

// stampNames are the names in the stamped_headers option.
func stampNames(o Options) []string {
	raw, ok := o.get("stamped_headers").(json.RawMessage)
	if !ok {
		return nil
	}
	var names []string
	for _, element := range listOf(raw) {
		names = append(names, textOf(element))
	}
	return names
}
