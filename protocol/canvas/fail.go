package canvas

import "encoding/json"

// Failure is a result that has to be stored as failed because its task will never run.
type Failure struct {
	TaskID   string
	Step     Signature   // of a chain; zero for the body of a chord and what is in it
	Group    bool        // this is the group that a body is, not one of its members
	Errbacks []Signature // to be called before it is stored

	// The step's place in a group and chord: the chord counts it as a failed part.
	GroupID    string
	GroupIndex *int
	Chord      json.RawMessage // nil: in no chord
}

// FailChain lists what fails with a task that has steps after it, in the order in which
// Celery stores it: the steps as they stand in the message's chain, then the bodies of
// steps that are chords, which have the result that others wait for. A step without
// an id is left out unless it is part of a chord.
func FailChain(steps []byte) ([]Failure, error) {
	var failures []Failure
	for left := elements(steps); len(left) > 0; {
		n, err := decodeValue(left[0])
		if err != nil {
			return nil, err
		}
		left = left[1:]
		f := Failure{
			TaskID: n.id(), Step: Signature{n}, GroupID: n.options.text("group_id"), Chord: encode(n.options.get("chord")),
		}
		if index, ok := n.options.integer("group_index"); ok {
			f.GroupIndex = &index
		}
		if f.TaskID != "" || f.Chord != nil {
			failures = append(failures, f)
		}
		if n.kind == chord && n.body != nil {
			left = append(left, n.body)
		}
	}
	return failures, nil
}

// FailBody lists what fails with the header of a chord: the body, or each member of a
// body that is a group and then the group itself, and the steps after it. The members of
// a group are to be revoked too.
func FailBody(body Signature, newID func() string) ([]Failure, error) {
	if err := body.err(); err != nil {
		return nil, err
	}
	n := body.node.copy()
	var failures []Failure
	if n.kind == group {
		p := planner{env: Environment{NewID: newID}}
		failures = p.failGroup(n)
		if p.err != nil {
			return nil, p.err
		}
	} else {
		f := Failure{TaskID: n.id()}
		if f.TaskID == "" {
			f.TaskID = newID()
		}
		for _, errback := range n.options.list("link_error") {
			sig, err := decodeValue(errback)
			if err != nil {
				return nil, err
			}
			f.Errbacks = append(f.Errbacks, Signature{sig})
		}
		failures = []Failure{f}
	}
	after, err := FailChain(encodeList(n.options.get("chain")))
	return append(failures, after...), err
}

// failGroup lists the members with their own errbacks and those of the group.
func (p *planner) failGroup(n *node) []Failure {
	result := p.freeze(n, frozen{})
	own := map[string][]any{}
	for _, task := range n.tasks {
		id, errbacks := task.resultErrbacks()
		own[id] = errbacks
	}
	var failures []Failure
	for _, member := range result.Members {
		f, linked := Failure{TaskID: member.ID}, &node{}
		for _, errback := range own[member.ID] {
			linked.appendTo("link_error", errback)
		}
		for _, errback := range n.options.list("link_error") {
			linked.appendTo("link_error", errback)
		}
		for _, errback := range linked.options.list("link_error") {
			sig, err := decodeValue(errback)
			p.fail(err)
			f.Errbacks = append(f.Errbacks, Signature{sig})
		}
		failures = append(failures, f)
	}
	return append(failures, Failure{TaskID: result.ID, Group: true})
}

// resultErrbacks returns the id of a signature's result and the errbacks linked to that: for
// a chord those of its body, for a group those of its tasks as well.
func (n *node) resultErrbacks() (id string, errbacks []any) {
	for n.kind == chord && n.body != nil {
		errbacks = append(errbacks, n.options.list("link_error")...)
		n = n.body
	}
	errbacks = append(errbacks, n.options.list("link_error")...)
	if n.kind == group {
		for _, task := range n.tasks {
			_, nested := task.resultErrbacks()
			errbacks = append(errbacks, nested...)
		}
	}
	return n.id(), errbacks
}
