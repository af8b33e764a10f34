package canvas

import "github.com/apium/apium/protocol/pyjson"

// Chain is Python's chain(*sigs): each runs with the result of the one before it. As
// there, a group followed by something becomes a chord, and what follows a chord goes
// into its body; so the result may be no chain at all.
func Chain(sigs ...Signature) Signature {
	tasks := copies(sigs)
	if len(tasks) < 2 { // Celery does not look into a single one
		return Signature{newNode(chain, tasks)}
	}
	n, err := fold(tasks)
	if err != nil {
		n = newNode(chain, nil)
		n.note(err)
	}
	return Signature{n}
}

// Group is Python's group(*sigs): all run in parallel.
func Group(sigs ...Signature) Signature {
	tasks := copies(sigs)
	if len(tasks) == 1 {
		if tasks[0].kind == group {
			tasks = tasks[0].tasks
		} else {
			tasks[0] = tasks[0].clone()
		}
	}
	return Signature{newNode(group, tasks)}
}

// Chord is Python's chord(header, body): the body runs with the list of the results of
// the header, when all are there. A group among others in the header is flattened when
// it is applied, in reverse, as in Celery; for one group as the header use Chain.
func Chord(header []Signature, body Signature) Signature {
	return Signature{newChord(copies(header), copies([]Signature{body})[0])}
}

// Map is one task that calls sig's task for each of items, a slice: Python's xmap.
func Map(sig Signature, items any) Signature { return mapping(xmap, sig, items) }

// Starmap is Map for items that are lists of arguments.
func Starmap(sig Signature, items any) Signature {
	return mapping(xstarmap, sig, items)
}

// Chunks is a group of Starmaps with n items each.
func Chunks(sig Signature, items any, n int) Signature {
	s := mapping(chunks, sig, items)
	members := membersOf(s.node.kwargs)
	members = append(members, Opt("n", n))
	s.node.kwargs = members.encode()
	return s
}

func mapping(k kind, sig Signature, items any) Signature {
	n := &node{kind: k, task: taskNames[k], immutable: true, tuple: true}
	it, err := pyjson.Append(nil, items)
	n.note(err)
	n.note(sig.err())
	if len(n.options) == 0 {
		n.kwargs = Options{{name: "task", value: sig.node}, RawOpt("it", it)}.encode()
	}
	return Signature{n}
}

func copies(sigs []Signature) []*node {
	nodes := make([]*node, 0, len(sigs))
	for _, sig := range sigs {
		n := sig.node.copy()
		if n == nil {
			n = &node{}
			n.note(sig.err()) // Apply says so
		}
		nodes = append(nodes, n)
	}
	return nodes
}
