package canvas

import (
	"encoding/json"
	"errors"

	"github.com/apium/apium/protocol/pyjson"
)

// Signature is a call that has not been made: of a task, or of a chain, group or chord of
// signatures. It does not change: methods return changed copies. The zero value is no
// signature.
type Signature struct{ node *node }

// Sig is the signature of a call of a task by its name, Python's task.s(*args). Args
// are values that pyjson can write; if one cannot be written, Apply says so.
func Sig(task string, args ...any) Signature {
	n := &node{task: task, tuple: true}
	if len(args) > 0 {
		raw, err := pyjson.Append(nil, args)
		n.args = raw
		n.note(err)
	}
	return Signature{n}
}

// note keeps an error made while building.
func (n *node) note(err error) {
	if err != nil {
		n.options = append(n.options, Option{name: "", value: null, err: err})
	}
}

// err returns what went wrong in building the signature or one inside it.
func (s Signature) err() error {
	if s.node == nil {
		return errors.New("canvas: an empty signature")
	}
	return s.node.check()
}

func (n *node) check() error {
	if n == nil {
		return nil
	}
	if err := n.options.check(); err != nil {
		return err
	}
	for _, task := range n.tasks {
		if err := task.check(); err != nil {
			return err
		}
	}
	for _, opt := range n.options {
		for _, value := range listOfNodes(opt.value) {
			if err := value.check(); err != nil {
				return err
			}
		}
	}
	return errors.Join(n.header.check(), n.body.check())
}

// listOfNodes are the signatures made here that an option holds.
func listOfNodes(value any) (nodes []*node) {
	list, _ := value.([]any)
	for _, element := range list {
		if n, ok := element.(*node); ok {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// with returns a changed copy.
func (s Signature) with(change func(*node) error) Signature {
	n := copies([]Signature{s})[0]
	n.note(change(n))
	return Signature{n}
}

// Kw adds keyword arguments.
func (s Signature) Kw(kwargs map[string]any) Signature {
	return s.with(func(n *node) error {
		raw, err := pyjson.Append(nil, kwargs)
		if err == nil {
			n.kwargs = joinKwargs(n.kwargs, raw)
		}
		return err
	})
}

// Set sets execution options.
func (s Signature) Set(opts ...Option) Signature {
	return s.with(func(n *node) error {
		n.options.update(opts)
		return Options(opts).check()
	})
}

// Immutable makes a signature that takes no arguments from what runs before it. For a
// group all members become so, for a chord its header.
func (s Signature) Immutable() Signature {
	return s.with(func(n *node) error {
		n.setImmutable()
		return nil
	})
}

// Link adds callbacks, which are applied with the result. A chord's go to its body.
func (s Signature) Link(callbacks ...Signature) Signature {
	return s.with(func(n *node) error {
		for _, callback := range copies(callbacks) {
			if err := n.link(callback); err != nil {
				return err
			}
		}
		return nil
	})
}

// LinkError adds errbacks, which are applied when the task fails: each task of a group,
// the body of a chord.
func (s Signature) LinkError(errbacks ...Signature) Signature {
	return s.with(func(n *node) error {
		for _, errback := range copies(errbacks) {
			if err := n.linkError(errback, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// read is the node to read from.
func (s Signature) read() *node {
	if s.node == nil {
		return &node{}
	}
	return s.node
}

// IsZero tells that there is no signature.
func (s Signature) IsZero() bool { return s.node == nil }

// Task is the name of the task, such as celery.chain for a chain.
func (s Signature) Task() string { return s.read().task }

// TaskID is the id the task will have, "" if that is open.
func (s Signature) TaskID() string { return s.read().id() }

// SubtaskType is "chain", "group" or "chord", and "" for a plain call.
func (s Signature) SubtaskType() string { return subtaskTypes[s.read().kind] }

// IsImmutable says that it takes no arguments from what runs before it.
func (s Signature) IsImmutable() bool { return s.read().immutable }

// Args are the positional arguments, a JSON array; nil if there are none.
func (s Signature) Args() json.RawMessage { return s.read().args }

// Kwargs are the keyword arguments, a JSON object; {} if there are none.
func (s Signature) Kwargs() json.RawMessage {
	if kwargs := s.read().kwargs; kwargs != nil {
		return kwargs
	}
	return json.RawMessage("{}")
}

// Option is the value of an option in JSON, nil if it is missing or null.
func (s Signature) Option(name string) json.RawMessage { return encode(s.read().options.get(name)) }

// Tasks are the steps of a chain, the members of a group or the header of a chord.
func (s Signature) Tasks() []Signature {
	var tasks []Signature
	for _, task := range s.read().headerTasks() {
		tasks = append(tasks, Signature{task})
	}
	return tasks
}

// Body is the body of a chord; false if there is none.
func (s Signature) Body() (Signature, bool) {
	body := s.read().body
	return Signature{body}, body != nil
}

// Append writes the signature as Python's json does.
func (s Signature) Append(dst []byte) []byte { return s.read().append(dst) }

// MarshalJSON is Append, with the errors made in building.
func (s Signature) MarshalJSON() ([]byte, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Append(nil), nil
}
