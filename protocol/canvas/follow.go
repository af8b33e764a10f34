package canvas

import (
	"encoding/json"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// DecodeList reads signatures: an array of them, or a single one in its place. Nothing
// and null give none.
func DecodeList(raw []byte) ([]Signature, error) {
	var sigs []Signature
	for _, element := range listOf(json.RawMessage(raw)) {
		sig, err := Decode(element.(json.RawMessage))
		if err != nil {
			return nil, err
		}
		sigs = append(sigs, sig)
	}
	return sigs, nil
}

// Follow plans what a task that succeeded leads to: its callbacks, then the next step of
// its chain, all applied with the result (trace's _dispatch_callbacks_and_chain). A
// single callback is applied by itself. Of several the groups are applied one by one,
// then all the others together as a new group.
//
// The environment's ParentID, RootID and Priority are those of the task.
func Follow(embed protocol.Embed, result json.RawMessage, env Environment) (*Plan, error) {
	callbacks, err := DecodeList(embed.Callbacks)
	if err != nil {
		return nil, err
	}
	p := &planner{env: env}
	args, opts := arrayOf([]json.RawMessage{result}), followOptions(env)
	if len(callbacks) == 1 {
		p.apply(callbacks[0].node, args, nil, opts.clone())
	} else {
		p.applyAll(callbacks, args, opts)
	}
	if before, last := pyjson.CutLast(embed.Chain); last != nil {
		next, err := Decode(last)
		if err != nil {
			return nil, err
		}
		opts.set("chain", json.RawMessage(before))
		p.apply(next.node, args, nil, opts)
	}
	return p.done()
}

// followOptions are those of the calls a finished task makes. The priority is null where
// it is not inherited, which shows in the body of a chord.
func followOptions(env Environment) Options {
	opts := Options{Opt("parent_id", env.ParentID), Opt("root_id", env.RootID), RawOpt("priority", null)}
	if env.Priority != nil {
		opts[2] = Priority(*env.Priority)
	}
	return opts
}

func (p *planner) applyAll(callbacks []Signature, args []byte, opts Options) {
	others := newNode(group, nil)
	for _, callback := range callbacks {
		if callback.node.kind == group {
			p.apply(callback.node, args, nil, opts.clone())
		} else {
			others.tasks = append(others.tasks, callback.node)
		}
	}
	if len(others.tasks) > 0 {
		p.apply(others, args, nil, opts.clone())
	}
}

// Errbacks plans the publishing of errbacks that are not called in the worker: as a
// group, with the failed task's id as argument. rootID may be "".
func Errbacks(errbacks []Signature, taskID, rootID string, env Environment) (*Plan, error) {
	p := &planner{env: env}
	if len(errbacks) == 0 {
		return p.done()
	}
	if rootID == "" {
		rootID = taskID
	}
	all := newNode(group, copies(errbacks))
	id := quote(taskID)
	p.apply(all, appendValue(nil, []any{id}), nil, Options{Opt("parent_id", taskID), Opt("root_id", rootID)})
	return p.done()
}
