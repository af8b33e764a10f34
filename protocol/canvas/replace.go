package canvas

import (
	"encoding/json"
	"strconv"

	"github.com/apium/apium/protocol"
)

// pythonError is what Celery raises, with its class and text.
type pythonError struct{ module, class, text string }

func (e *pythonError) Error() string                      { return e.text }
func (e *pythonError) PythonType() (module, class string) { return e.module, e.class }

// Replace plans what Task.replace does: sig is published in the place of the running
// task, with its id, its callbacks, its place in chords and groups and the rest of its
// chain. A group is made a chord with the body celery.accumulate, which has the id then.
//
// It returns an error for a sig that is an empty chain or a member of a chord.
func Replace(sig Signature, task *protocol.Task, env Environment) (*Plan, error) {
	if err := sig.err(); err != nil {
		return nil, err
	}
	n := sig.node.copy()
	switch {
	case n.options.has("chord"):
		return nil, &pythonError{"celery.exceptions", "ImproperlyConfigured", "A signature replacing a task must not be part of a chord"}
	case n.emptyChain():
		return nil, &pythonError{"celery.exceptions", "ImproperlyConfigured", "Cannot replace with an empty chain"}
	}
	n, err := n.accumulated()
	if err == nil {
		err = n.inherit(task)
	}
	if err != nil {
		return nil, err
	}
	p := &planner{env: env}
	p.freeze(n, frozen{id: task.ID})
	if p.err != nil {
		return nil, p.err
	}
	nesting := json.RawMessage(strconv.Itoa(task.ReplacedTaskNesting + 1))
	n.setMember(task)
	n.options.set("replaced_task_nesting", nesting)
	if n.kind == chain {
		for _, step := range n.tasks {
			step.options.set("replaced_task_nesting", nesting)
		}
	}
	steps, err := DecodeList(task.Embed.Chain)
	for i := len(steps) - 1; i >= 0 && err == nil; i-- {
		next := steps[i].node
		next.options.set("replaced_task_nesting", nesting)
		n, err = pipe(n, next)
	}
	if err != nil {
		return nil, err
	}
	p.plan.Result = p.apply(n, nil, nil, nil)
	return p.done()
}

// accumulated makes groups at the end of a replacement chords, so that there is one
// task that gives the result.
func (n *node) accumulated() (*node, error) {
	accumulate := &node{task: "celery.accumulate", kwargs: []byte(`{"index": 0}`), tuple: true}
	if n.kind == group {
		return pipe(n, accumulate)
	}
	if n.kind != chain {
		return n, nil
	}
	last := len(n.tasks) - 1
	if n.tasks[last].kind != group {
		return n, nil
	}
	made, err := pipe(n.tasks[last], accumulate)
	n.tasks[last] = made
	return n, err
}

// inherit adds the task's callbacks and errbacks. A chain's callbacks are its last
// step's, so that they run at the right time if the chain goes on.
func (n *node) inherit(task *protocol.Task) error {
	for _, callback := range listOf(json.RawMessage(task.Embed.Callbacks)) {
		if err := n.link(callback); err != nil {
			return err
		}
	}
	for _, errback := range listOf(json.RawMessage(task.Embed.Errbacks)) {
		if err := n.linkError(errback, false); err != nil {
			return err
		}
	}
	if n.kind == chain && n.options.has("link") {
		n.tasks[len(n.tasks)-1].extend("link", listOf(n.options.pop("link")))
	}
	return nil
}

// setMember gives a signature the place of a task in its group and chord.
func (n *node) setMember(task *protocol.Task) {
	n.options.set("chord", json.RawMessage(task.Embed.Chord))
	n.options.set("group_id", quote(task.GroupID))
	n.options.set("group_index", null)
	if task.GroupIndex != nil {
		n.options.set("group_index", json.RawMessage(strconv.Itoa(*task.GroupIndex)))
	}
	n.options.set("root_id", quote(task.RootID))
}

// AddToChord plans what Task.add_to_chord does: the chord that the running task is in
// waits for sig too, which is then published as its member.
func AddToChord(sig Signature, task *protocol.Task, env Environment) (*Plan, error) {
	if err := sig.err(); err != nil {
		return nil, err
	}
	if task.Embed.Chord == nil {
		return nil, &pythonError{"builtins", "ValueError", "Current task is not member of any chord"}
	}
	if env.Chords != ChordsCounted {
		return nil, &pythonError{"builtins", "NotImplementedError", "Backend does not support add_to_chord"}
	}
	n := sig.node.copy()
	n.setMember(task)
	p := &planner{env: env}
	p.freeze(n, frozen{})
	p.plan.Steps = append(p.plan.Steps, GrowChord{task.GroupID})
	p.plan.Result = p.apply(n, nil, nil, nil)
	return p.done()
}
